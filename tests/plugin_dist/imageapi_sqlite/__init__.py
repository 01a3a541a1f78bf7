"""Images in an SQLite file: a store, a registry and a policy for imageapi."""
