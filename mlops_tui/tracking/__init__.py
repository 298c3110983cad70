"""Tracking: experiments and runs, taken in from the spool, and what people do with them."""
