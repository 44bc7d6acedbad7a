"""Where clips are labelled: what is wrong with each, when, where and how much; the data of Negative-DPO."""
