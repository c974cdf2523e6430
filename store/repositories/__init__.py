"""All queries, one repository for each table or group of tables."""
