"""Programs behind one real HTTP server in the place of teacher, grader and judge."""
