# SPDX-License-Identifier: Apache-2.0 OR MIT
# The IP packager: a component with ports, bus interfaces, address spaces, a memory map. `ipx::save_core` leaves a component.xml
# that only this mock reads.

namespace eval mock {}

mock::properties core {NAME [a-z][a-z0-9_]* VERSION {[0-9]+\.[0-9]+} DISPLAY_NAME .+ DESCRIPTION .+}
mock::properties bus {
    ABSTRACTION_TYPE_VLNV {xilinx\.com:(interface:aximm|signal:(clock|reset|interrupt))_rtl:1\.0}
    BUS_TYPE_VLNV {xilinx\.com:(interface:aximm|signal:(clock|reset|interrupt)):1\.0}
    INTERFACE_MODE master|slave SLAVE_MEMORY_MAP_REF .+ MASTER_ADDRESS_SPACE_REF .+
}
mock::properties portmap {PHYSICAL_NAME .+}
mock::properties busparam {VALUE .+}
mock::properties memmap {NAME {}}
mock::properties space {NAME {} RANGE {[0-9]+[KMG]?} WIDTH 32|64}
mock::properties block {RANGE {[0-9]+[KMG]?} WIDTH 32 USAGE register}
mock::properties register {ADDRESS_OFFSET {0x[0-9A-F]+} SIZE 32 ACCESS read-only|write-only|read-write}

proc mock::need_core {handle} {
    if {[state core] eq "" || $handle ne "core|brickwork"} { fail "'$handle' is no component" }
}

mock::command ipx::package_project {-root_dir 1 -vendor 1 -library 1 -taxonomy 1 -import_files 0 -force 0} {0 0} {
    need_project
    if {[state top] ne "brickwork_top"} { fail "the top of the project is '[state top]'" }
    need_all_rtl
    set xdc file|[file normalize [file join $S(root) vivado brickwork_ooc.xdc]]
    if {"out_of_context" ni [state property,$xdc,USED_IN]} { fail "the clock's constraint would count in every design that uses the IP" }
    foreach name {-root_dir -vendor -library -taxonomy -import_files} { need_option ipx::package_project $o $name }
    if {![regexp {^/UserIP$} [dict get $o -taxonomy]]} { fail "taxonomy '[dict get $o -taxonomy]'" }
    set S(core) [inside [dict get $o -root_dir]]
    set S(core_vlnv) [list [dict get $o -vendor] [dict get $o -library]]
    set S(core_ports) [ports [file_of brickwork_top]]
    # What Vivado guesses from the names of the ports.
    set S(buses) {s_axil m_axi_if aclk}
    set S(memmaps) s_axil
    set S(spaces) m_axi_if
}

mock::command ipx::current_core {} {0 0} {
    if {[state core] eq ""} { fail "no component is open" }
    return core|brickwork
}

mock::command ipx::remove_all_bus_interface {} {1 1} {
    need_core [lindex $p 0]
    set S(buses) {}
}

foreach {kind class list} {memory_map memmap memmaps address_space space spaces} {
    mock::command ipx::get_${kind}s {-of_objects 1} {1 1} [string map [list CLASS $class LIST $list] {
        need_core [need_option get $o -of_objects]
        if {[lindex $p 0] ne "*"} { fail "only * is known here" }
        set found {}
        foreach name $S(LIST) { lappend found CLASS|$name }
        return $found
    }]
    mock::command ipx::remove_$kind {} {2 2} [string map [list LIST $list] {
        need_core [lindex $p 1]
        if {[lindex $p 0] ni $S(LIST)} { fail "there is no '[lindex $p 0]' to remove" }
        set S(LIST) [lsearch -all -inline -not -exact $S(LIST) [lindex $p 0]]
    }]
}
proc mock::read_memmap_NAME {key} { return $key }
proc mock::read_space_NAME {key} { return $key }

# Adds a named thing to a list of the state; gives its handle.
proc mock::add {list class name} {
    variable S
    if {$name in [state $list]} { fail "there is a $class '$name' already" }
    if {![regexp {^[A-Za-z][A-Za-z0-9_]*$} $name]} { fail "'$name' is no name" }
    lappend S($list) $name
    return $class|$name
}

mock::command ipx::add_bus_interface {} {2 2} {
    need_core [lindex $p 1]
    return [add buses bus [lindex $p 0]]
}

# Kind of a bus: interface:aximm or signal:...
proc mock::kind {bus} {
    regexp {^xilinx\.com:([a-z:]+):1\.0$} [state property,bus|$bus,BUS_TYPE_VLNV] - kind
    if {![info exists kind]} { fail "bus interface $bus has no type" }
    return $kind
}

proc mock::port_of {name} {
    variable S
    foreach {port direction width} $S(core_ports) {
        if {$port eq $name} { return [list $direction $width] }
    }
    fail "brickwork_top has no port '$name'"
}

# Signals of a kind: name, 1 if the master drives it, width.
proc mock::signals {kind} {
    variable signal_kinds
    if {[dict exists $signal_kinds $kind]} { return [list [dict get $signal_kinds $kind] 1 1] }
    set list {}
    foreach channel {AR R AW W B} { lappend list {*}[set ::mock::channel_$channel] }
    return $list
}

mock::command ipx::add_port_map {} {2 2} {
    lassign $p signal handle
    set bus [key bus $handle]
    foreach {name - -} [signals [kind $bus]] { lappend names $name }
    if {$signal ni $names} { fail "[kind $bus] has no signal '$signal'" }
    add maps,$bus portmap $signal
    return portmap|$bus.$signal
}

proc mock::on_portmap_PHYSICAL_NAME {key port} {
    variable S
    lassign [split $key .] bus signal
    lassign [port_of $port] direction width
    if {[dict exists [state mapped] $port]} { fail "port '$port' is mapped twice" }
    dict set S(mapped) $port $key
    foreach {name by_master wanted} [signals [kind $bus]] {
        if {$name ne $signal} continue
        set master [expr {[state property,bus|$bus,INTERFACE_MODE] eq "master"}]
        # Clock and reset are driven from outside; the interrupt's master drives it.
        set expected [expr {$by_master == $master ? "output" : "input"}]
        if {$direction ne $expected} { fail "port '$port' is an $direction, $signal of $bus is an $expected" }
        if {$wanted != 0 && $width != $wanted} { fail "port '$port' has $width bits, $signal has $wanted" }
    }
    if {[kind $bus] eq "interface:aximm" && [string tolower $signal] ne [regsub "^${bus}_" $port ""]} {
        fail "port '$port' is not $signal of $bus"
    }
}

mock::command ipx::add_bus_parameter {} {2 2} {
    lassign $p name handle
    variable bus_parameters
    set bus [key bus $handle]
    if {![dict exists $bus_parameters [kind $bus],$name]} { fail "[kind $bus] has no parameter '$name'" }
    add parameters,$bus busparam $name
    return busparam|$bus.$name
}

proc mock::on_busparam_VALUE {key value} {
    variable bus_parameters
    lassign [split $key .] bus name
    if {![regexp "^(?:[dict get $bus_parameters [kind $bus],$name])\$" $value]} { fail "$name of $bus cannot be '$value'" }
}

mock::command ipx::add_memory_map {} {2 2} {
    need_core [lindex $p 1]
    return [add memmaps memmap [lindex $p 0]]
}

mock::command ipx::add_address_space {} {2 2} {
    need_core [lindex $p 1]
    return [add spaces space [lindex $p 0]]
}

mock::command ipx::add_address_block {} {2 2} {
    set map [key memmap [lindex $p 1]]
    if {$map ni $S(memmaps)} { fail "no memory map '$map'" }
    add blocks,$map block [lindex $p 0]
    return block|$map/[lindex $p 0]
}

mock::command ipx::add_register {} {2 2} {
    set block [key block [lindex $p 1]]
    add registers,$block register [lindex $p 0]
    return register|$block/[lindex $p 0]
}

foreach {name flag} {create_xgui_files xgui update_checksums checksums} {
    mock::command ipx::$name {} {1 1} [string map [list FLAG $flag] {
        need_core [lindex $p 0]
        set S(FLAG) 1
    }]
}

mock::command ipx::check_integrity {-quiet 0} {1 1} {
    need_core [lindex $p 0]
    set S(integrity) 1
    check_component
    return 1
}

mock::command ipx::save_core {} {1 1} {
    need_core [lindex $p 0]
    foreach {flag what} {checksums "the checksums are old" xgui "there is no GUI file" integrity "nobody checked the component"} {
        if {![state $flag 0]} { fail $what }
    }
    foreach name {NAME VERSION DISPLAY_NAME DESCRIPTION} {
        if {[state property,core|brickwork,$name] eq ""} { fail "the component has no $name" }
    }
    set vlnv [join [list {*}$S(core_vlnv) [state property,core|brickwork,NAME] [state property,core|brickwork,VERSION]] :]
    write_text [file join $S(core) component.xml] [list $vlnv [component_interfaces] [component_pins] [component_segments]]
}

# Interfaces, ports and memory are complete and belong together.
proc mock::check_component {} {
    variable S
    foreach bus $S(buses) { check_bus $bus }
    foreach {port - -} $S(core_ports) {
        set observed [regexp {^(mark_valid_o|mark_id_o|unit_busy_o|run_cycle_o)$} $port]
        if {!$observed && ![dict exists [state mapped] $port]} { fail "port '$port' belongs to no interface" }
    }
    foreach map $S(memmaps) {
        foreach block [state blocks,$map] { check_block $map/$block }
    }
}

proc mock::check_bus {bus} {
    variable S
    variable not_lite
    set kind [kind $bus]
    if {![string match *:${kind}_rtl:* [state property,bus|$bus,ABSTRACTION_TYPE_VLNV]]} { fail "type and abstraction of $bus differ" }
    set mode [state property,bus|$bus,INTERFACE_MODE]
    if {$mode eq ""} { fail "interface $bus has no mode" }
    set value [dict create {*}[bus_values $bus]]
    set needed {}
    if {$kind eq "interface:aximm"} {
        set lite [expr {[option $value PROTOCOL] eq "AXI4LITE"}]
        if {[option $value PROTOCOL] ni {AXI4 AXI4LITE}} { fail "$bus has no protocol" }
        switch -- [option $value READ_WRITE_MODE READ_WRITE] {
            READ_ONLY { set channels {AR R} }
            WRITE_ONLY { set channels {AW W B} }
            default { set channels {AR R AW W B} }
        }
        foreach channel $channels {
            foreach {signal - -} [set ::mock::channel_$channel] {
                if {!($lite && $signal in $not_lite)} { lappend needed $signal }
            }
        }
        check_aximm $bus $mode $value $lite
    } else {
        variable signal_kinds
        lappend needed [dict get $signal_kinds $kind]
        foreach {k name} {signal:reset POLARITY signal:interrupt SENSITIVITY signal:clock ASSOCIATED_BUSIF signal:clock ASSOCIATED_RESET} {
            if {$k eq $kind && ![dict exists $value $name]} { fail "$bus has no $name" }
        }
        foreach {name wanted} {POLARITY ACTIVE_LOW SENSITIVITY LEVEL_HIGH} {
            if {[dict exists $value $name] && [dict get $value $name] ne $wanted} { fail "$name of $bus is $wanted" }
        }
        set wanted [expr {$kind eq "signal:interrupt" ? "master" : "slave"}]
        if {$mode ne $wanted} { fail "$bus must be a $wanted" }
    }
    if {[lsort [state maps,$bus]] ne [lsort $needed]} { fail "signals of $bus are [lsort [state maps,$bus]], needed are [lsort $needed]" }
    foreach signal $needed {
        if {[state property,portmap|$bus.$signal,PHYSICAL_NAME] eq ""} { fail "$signal of $bus has no port" }
    }
}

proc mock::bus_values {bus} {
    set list {}
    foreach name [state parameters,$bus] {
        set value [state property,busparam|$bus.$name,VALUE]
        if {$value eq ""} { fail "$name of $bus has no value" }
        lappend list $name $value
    }
    return $list
}

proc mock::check_aximm {bus mode value lite} {
    variable S
    set clock {}
    set reset {}
    foreach other $S(buses) {
        if {[kind $other] ne "signal:clock"} continue
        if {$bus in [split [state property,busparam|$other.ASSOCIATED_BUSIF,VALUE] :]} {
            lappend clock $other
            set reset [state property,busparam|$other.ASSOCIATED_RESET,VALUE]
        }
    }
    if {[llength $clock] != 1} { fail "interface $bus has [llength $clock] clocks" }
    if {$reset ni $S(buses)} { fail "the clock of $bus has no reset" }
    if {$mode eq "slave"} {
        set map [state property,bus|$bus,SLAVE_MEMORY_MAP_REF]
        if {$map ni $S(memmaps) || [state blocks,$map] eq ""} { fail "slave $bus has no memory map with a block" }
        return
    }
    if {$lite} { fail "a master is no AXI4LITE here" }
    set space [state property,bus|$bus,MASTER_ADDRESS_SPACE_REF]
    if {$space ni $S(spaces)} { fail "master $bus has no address space" }
    set width [state property,space|$space,WIDTH]
    if {$width ne "32" || [bytes [state property,space|$space,RANGE 0]] != 1 << 32} { fail "address space $space is not that of 32 bits" }
    set json [read_text [file join $S(root) config.json]]
    regexp {"burst_beats": ([0-9]+)} $json - beats
    foreach {name wanted} [list MAX_BURST_LENGTH $beats SUPPORTS_NARROW_BURST 0] {
        if {[option $value $name] ne $wanted} { fail "$name of $bus is '[option $value $name]', the accelerator has $wanted" }
    }
}

proc mock::check_block {block} {
    variable S
    foreach name {RANGE WIDTH USAGE} {
        if {[state property,block|$block,$name] eq ""} { fail "address block $block has no $name" }
    }
    set address_bits [lindex [port_of s_axil_awaddr] 1]
    if {[bytes [state property,block|$block,RANGE]] != 1 << $address_bits} { fail "address block $block is not what $address_bits bits reach" }
    if {[state registers,$block] eq ""} { fail "address block $block has no registers" }
    set named {}
    foreach name $S(registers,$block) {
        foreach property {ADDRESS_OFFSET SIZE ACCESS} {
            if {[state property,register|$block/$name,$property] eq ""} { fail "register $name has no $property" }
        }
        dict set named [expr {[state property,register|$block/$name,ADDRESS_OFFSET]}] $name
    }
    # What the Verilog reads at each word address.
    set decoded {}
    foreach {- word name} [regexp -all -inline -line {^\s*10'h([0-9a-f]+): rd_data = .*// ([A-Z0-9_]+)$} [read_text [file join $S(root) rtl control.v]]] {
        dict set decoded [expr {4 * "0x$word"}] $name
    }
    if {[lsort $named] ne [lsort $decoded]} { fail "registers of $block are {$named}, those of control.v {$decoded}" }
    foreach name $S(registers,$block) {
        set access [state property,register|$block/$name,ACCESS]
        set written [regexp "\\mwr_[string tolower $name]\\M" [read_text [file join $S(root) rtl control.v]]]
        if {$written != ($access ne "read-only")} { fail "register $name is $access" }
    }
}

# What the block design needs to know: interfaces as in the catalog, pins, segments.
proc mock::component_interfaces {} {
    variable S
    variable aximm
    set list {}
    foreach bus $S(buses) {
        if {[kind $bus] eq "interface:aximm"} { lappend list $bus [state property,bus|$bus,INTERFACE_MODE] $aximm }
    }
    return $list
}

proc mock::component_pins {} {
    variable S
    set list {}
    foreach bus $S(buses) {
        foreach {kind pin} {signal:clock clock signal:reset reset_n signal:interrupt interrupt} {
            if {[kind $bus] ne $kind} continue
            set port [state property,portmap|$bus.[lindex [state maps,$bus] 0],PHYSICAL_NAME]
            lappend list $port [expr {$pin eq "interrupt" ? "out" : "in"}] $pin 1
        }
    }
    return $list
}

proc mock::component_segments {} {
    variable S
    set list {}
    foreach bus $S(buses) {
        set map [state property,bus|$bus,SLAVE_MEMORY_MAP_REF]
        foreach block [expr {$map eq "" ? "" : [state blocks,$map]}] {
            lappend list slave $bus $block [bytes [state property,block|$map/$block,RANGE]]
        }
        set space [state property,bus|$bus,MASTER_ADDRESS_SPACE_REF]
        if {$space ne ""} { lappend list master $bus $space 0 }
    }
    return $list
}

# What package_ip.tcl must leave.
proc mock::expect_package_ip {arguments} {
    variable S
    need_part $S(config_part)
    need_result [file join vivado_build ip component.xml]
    lassign [read_text [file join $S(root) vivado_build ip component.xml]] vlnv interfaces pins segments
    if {[lrange $segments 0 2] ne {slave s_axil reg0}} { fail "system.tcl and PYNQ look for s_axil/reg0, there is $segments" }
    if {$vlnv ne "brickwork:ip:brickwork:1.0"} { fail "the IP is called $vlnv" }
    set json [read_text [file join $S(root) config.json]]
    regexp {"read_ports": ([0-9]+)} $json - ports
    if {[llength $interfaces] != 3 * ($ports + 3)} { fail "$ports read ports, but the interfaces are $interfaces" }
    if {[state project] ne ""} { fail "the project is still open" }
}
