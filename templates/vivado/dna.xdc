# The system's clock and reset are constrained by the processing system and the reset block; pins are the board preset's.
set_property BITSTREAM.GENERAL.COMPRESS TRUE [current_design]
