"""What strangers may send, made by machines: requests against the API's document, and files against their readers."""
