"""Files of rows and corpora of documents, read alike by every stage."""
