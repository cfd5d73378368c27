# Packages the Verilog as an IP with AXI interfaces: vivado -mode batch -source package_ip.tcl
# Result: the folder ip/, an IP repository with dna:user:dna:1.0.
set here [file dirname [file normalize [info script]]]
source [file join $here settings.tcl]

create_project dna_ip [file join $here build_ip] -part $dna_part -force
foreach name $dna_sources {
    add_files -norecurse [file join $here $name]
}
foreach name $dna_headers {
    add_files -norecurse [file join $here $name]
    set_property file_type {Verilog Header} [get_files [file tail $name]]
}
add_files -norecurse [file join $here dna_ooc.xdc]
set_property used_in {synthesis implementation out_of_context} [get_files dna_ooc.xdc]
set_property top dna_top [current_fileset]
update_compile_order -fileset sources_1

ipx::package_project -root_dir [file join $here ip] -vendor dna -library user -taxonomy /UserIP -import_files -force
set core [ipx::current_core]
set_property name dna $core
set_property version 1.0 $core
set_property display_name {DNA accelerator} $core
set_property description {CNN accelerator: AXI4-Lite registers, AXI4 masters to memory, one interrupt} $core

# What the tool has not inferred from the ports' names is declared.
proc dna_interface {core name definition ports} {
    if {[llength [ipx::get_bus_interfaces -quiet $name -of_objects $core]] == 0} {
        ipx::infer_bus_interface $ports $definition $core
    }
    return [ipx::get_bus_interfaces $name -of_objects $core]
}
proc dna_parameter {interface name value} {
    if {[llength [ipx::get_bus_parameters -quiet $name -of_objects $interface]] == 0} {
        ipx::add_bus_parameter $name $interface
    }
    set_property value $value [ipx::get_bus_parameters $name -of_objects $interface]
}

dna_interface $core aclk xilinx.com:signal:clock_rtl:1.0 aclk
dna_parameter [dna_interface $core aresetn xilinx.com:signal:reset_rtl:1.0 aresetn] POLARITY ACTIVE_LOW
dna_parameter [dna_interface $core irq xilinx.com:signal:interrupt_rtl:1.0 irq] SENSITIVITY LEVEL_HIGH
ipx::associate_bus_interfaces -clock aclk -reset aresetn $core

set registers [dna_interface $core s_axi xilinx.com:interface:aximm_rtl:1.0 $dna_ports(s_axi)]
ipx::associate_bus_interfaces -busif s_axi -clock aclk $core
if {[llength [ipx::get_memory_maps -quiet s_axi -of_objects $core]] == 0} {
    ipx::add_memory_map s_axi $core
}
set_property slave_memory_map_ref s_axi $registers
set map [ipx::get_memory_maps s_axi -of_objects $core]
if {[llength [ipx::get_address_blocks -quiet reg0 -of_objects $map]] == 0} {
    ipx::add_address_block reg0 $map
}
set block [ipx::get_address_blocks reg0 -of_objects $map]
set_property range [expr {$dna_registers_range}] $block
set_property width 32 $block
set_property usage register $block

foreach master $dna_masters {
    set name [lindex $master 0]
    set interface [dna_interface $core $name xilinx.com:interface:aximm_rtl:1.0 $dna_ports($name)]
    ipx::associate_bus_interfaces -busif $name -clock aclk $core
    if {[llength [ipx::get_address_spaces -quiet $name -of_objects $core]] == 0} {
        ipx::add_address_space $name $core
    }
    set space [ipx::get_address_spaces $name -of_objects $core]
    set_property range [expr {1 << $dna_address_bits}] $space
    set_property width $dna_address_bits $space
    set_property master_address_space_ref $name $interface
}

ipx::create_xgui_files $core
ipx::update_checksums $core
ipx::check_integrity $core
ipx::save_core $core
close_project
