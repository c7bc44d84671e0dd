-- Make a table to fill beside the recruitments that are read.
create table rebuilt_recruitments as recruitments
