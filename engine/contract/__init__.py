"""What a caller says and gets: settings, requests, records, variants, progress and errors. Knows nothing of torch."""
