"""The database: tables, migrations, sessions and access control."""
