-- Put the clicks by day that were counted again in the place of those that are read, as one step.
exchange tables rebuilt_click_days and click_days
