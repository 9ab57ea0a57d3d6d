"""Public data sets as they are distributed: where their files lie, what values mean, how protocols prepare them."""
