"""Data sets, one file each, and what turns them into typed samples."""
