-- Make a table to fill beside the clicks by day that are read.
create table rebuilt_click_days as click_days
