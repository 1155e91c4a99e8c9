"""What is on disk: tables, migrations, queries. See `schema` for the picture and `engine` for how it is written."""
