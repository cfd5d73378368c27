# Synthesis, place and route, bitstream: vivado -mode batch -source bitstream.tcl   (after project.tcl)
# Result: dna.bit, dna.hwh (for PYNQ), dna.xsa (for software), and the reports. Fails if timing is not met.
set here [file dirname [file normalize [info script]]]
source [file join $here settings.tcl]

open_project [file join $here build dna_project.xpr]
launch_runs impl_1 -to_step write_bitstream -jobs 4
wait_on_run impl_1
set run [get_runs impl_1]
if {[get_property PROGRESS $run] ne "100%"} {
    error "implementation did not come to its end: [get_property STATUS $run]"
}
open_run impl_1
report_timing_summary -file [file join $here timing.rpt]
report_utilization -file [file join $here utilization.rpt]
set slack [get_property STATS.WNS $run]
file copy -force [file join [get_property DIRECTORY $run] dna_system_wrapper.bit] [file join $here dna.bit]
foreach handoff [glob -nocomplain [file join $here build dna_project.* sources_1 bd dna_system hw_handoff dna_system.hwh]] {
    file copy -force $handoff [file join $here dna.hwh]
}
# Vivado 2019.2 and later; before that the SDK takes the exported definition.
if {[llength [info commands write_hw_platform]] > 0} {
    write_hw_platform -fixed -include_bit -force -file [file join $here dna.xsa]
} else {
    write_hwdef -force -file [file join $here dna.hdf]
}
close_project
if {$slack < 0} {
    error "timing is not met at $dna_clock_mhz MHz: worst slack $slack ns (timing.rpt); lower clock_mhz in the board file"
}
