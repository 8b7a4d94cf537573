"""What each page shows, from documents and a time. Pure: no clock, no request, no HTML but the pictures."""
