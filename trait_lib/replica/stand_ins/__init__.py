"""Programs behind a real server in the place of teacher, grader and judge."""
