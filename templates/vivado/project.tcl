# Makes the project with the whole system: vivado -mode batch -source project.tcl   (after package_ip.tcl)
set here [file dirname [file normalize [info script]]]
source [file join $here settings.tcl]

create_project dna_project [file join $here build] -part $dna_part -force
set boards [lsort -dictionary [get_board_parts -quiet $dna_board]]
if {[llength $boards] == 0} {
    error "no board files for '$dna_board': install them (Vivado store, or xhub::install), for the memory controller's settings come from there"
}
set_property board_part [lindex $boards end] [current_project]
set_property ip_repo_paths [list [file join $here ip]] [current_project]
update_ip_catalog

source [file join $here block_design.tcl]
set design [get_files dna_system.bd]
generate_target all $design
set wrapper [make_wrapper -files $design -top]
add_files -norecurse $wrapper
set_property top dna_system_wrapper [current_fileset]
update_compile_order -fileset sources_1
add_files -fileset constrs_1 -norecurse [file join $here dna.xdc]
close_project
