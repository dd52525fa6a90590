# SPDX-License-Identifier: Apache-2.0 OR MIT
# Block designs: cells, pins, nets, interfaces, addresses.

namespace eval mock {}

proc mock::need_bd {} {
    if {[state bd] eq ""} { fail "no block design is open" }
}

# Files of the block design.
proc mock::bd_path {what} {
    variable S
    set base [file join $S(directory) $S(project)]
    switch -- $what {
        bd { return $base.srcs/sources_1/bd/$S(bd)/$S(bd).bd }
        hwh { return $base.gen/sources_1/bd/$S(bd)/hw_handoff/$S(bd).hwh }
        wrapper { return $base.gen/sources_1/bd/$S(bd)/hdl/$S(bd)_wrapper.v }
    }
}

mock::command update_ip_catalog {-rebuild 0} {0 0} {
    need_project
    set repositories [state property,project|$S(project),IP_REPO_PATHS]
    set S(catalog) {}
    foreach repository $repositories {
        set file [file join $repository component.xml]
        if {![file exists $file]} { fail "no IP in '$repository'; run package_ip.tcl first" }
        lassign [read_text $file] vlnv interfaces pins segments
        dict set S(catalog) $vlnv [list $interfaces $pins $segments]
    }
}

mock::command create_bd_design {} {1 1} {
    need_project
    set S(bd) [lindex $p 0]
    write_text [bd_path bd] "mock of a block design\n"
    add_source [bd_path bd]
}

mock::command create_bd_cell {-type 1 -vlnv 1} {1 1} {
    need_bd
    if {[need_option create_bd_cell $o -type] ne "ip"} { fail "only cells of the type ip are known" }
    set vlnv [need_option create_bd_cell $o -vlnv]
    variable ip_parameters
    set known [expr {[regexp {^xilinx\.com:ip:(.*)$} $vlnv - ip] && [info exists ip_parameters($ip)]}]
    if {!$known && ![dict exists [state catalog] $vlnv]} { fail "no IP '$vlnv' in the catalog" }
    set S(bd_changed) 1
    set cell [add cells bd_cell [lindex $p 0]]
    set S(ip,[lindex $p 0]) [expr {$known ? $ip : $vlnv}]
    set S(config,[lindex $p 0]) {}
    return $cell
}

proc mock::set_config {name value cell} {
    variable S
    variable ip_parameters
    set ip $S(ip,$cell)
    set name [string range $name 7 end]
    if {![info exists ip_parameters($ip)] || ![dict exists $ip_parameters($ip) $name]} { fail "$ip has no parameter '$name'" }
    if {![regexp "^(?:[dict get $ip_parameters($ip) $name])\$" $value]} { fail "$name of $cell cannot be '$value'" }
    dict set S(config,$cell) $name $value
    set S(bd_changed) 1
}

proc mock::cell_interfaces {cell} {
    variable S
    set ip $S(ip,$cell)
    if {[dict exists [state catalog] $ip]} { return [lindex [dict get $S(catalog) $ip] 0] }
    return [ip_interfaces $ip $S(config,$cell)]
}

proc mock::cell_pins {cell} {
    variable S
    set ip $S(ip,$cell)
    if {[dict exists [state catalog] $ip]} { return [lindex [dict get $S(catalog) $ip] 1] }
    return [ip_pins $ip $S(config,$cell)]
}

mock::command get_bd_cells {} {1 1} {
    if {[lindex $p 0] ni [state cells]} { fail "no cell '[lindex $p 0]'" }
    return bd_cell|[lindex $p 0]
}

# Splits cell/name and checks the cell.
proc mock::cell_of {path} {
    if {![regexp {^([^/]+)/([^/]+)$} $path - cell name] || $cell ni [state cells]} { fail "no cell for '$path'" }
    return [list $cell $name]
}

mock::command get_bd_pins {} {1 1} {
    lassign [cell_of [lindex $p 0]] cell name
    foreach {pin - - -} [cell_pins $cell] {
        if {$pin eq $name} { return bd_pin|$cell/$name }
    }
    fail "cell $cell has no pin '$name'"
}

mock::command get_bd_intf_pins {} {1 1} {
    lassign [cell_of [lindex $p 0]] cell name
    foreach {interface mode vlnv} [cell_interfaces $cell] {
        if {$interface eq $name} { return bd_intf_pin|$cell/$name }
    }
    fail "cell $cell has no interface '$name'"
}

mock::command create_bd_intf_port {-mode 1 -vlnv 1} {1 1} {
    need_bd
    variable ddr
    variable fixed_io
    set vlnv [need_option create_bd_intf_port $o -vlnv]
    if {$vlnv ni [list $ddr $fixed_io]} { fail "no interface '$vlnv'" }
    if {[need_option create_bd_intf_port $o -mode] ne "Master"} { fail "DDR and FIXED_IO are masters" }
    add intf_ports bd_intf_port [lindex $p 0]
    set S(intf_port,[lindex $p 0]) $vlnv
    set S(bd_changed) 1
    return bd_intf_port|[lindex $p 0]
}

mock::command get_bd_intf_ports {} {1 1} {
    if {[lindex $p 0] ni [state intf_ports]} { fail "no interface port '[lindex $p 0]'" }
    return bd_intf_port|[lindex $p 0]
}

# Side and kind of an interface end. A port stands for what is outside, so a master port takes a master pin.
proc mock::interface_end {handle} {
    variable S
    if {[string match bd_intf_port|* $handle]} { return [list slave $S(intf_port,[key bd_intf_port $handle])] }
    lassign [cell_of [key bd_intf_pin $handle]] cell name
    foreach {interface mode vlnv} [cell_interfaces $cell] {
        if {$interface eq $name} { return [list $mode $vlnv] }
    }
    fail "interface '$handle' is gone"
}

mock::command connect_bd_intf_net {} {2 2} {
    need_bd
    lassign $p a b
    lassign [interface_end $a] a_mode a_kind
    lassign [interface_end $b] b_mode b_kind
    if {$a_kind ne $b_kind || $a_mode eq $b_mode} { fail "$a ($a_mode of $a_kind) and $b ($b_mode of $b_kind) do not connect" }
    foreach end $p {
        if {[dict exists [state links] $end]} { fail "$end is connected already" }
    }
    dict set S(links) $a $b
    dict set S(links) $b $a
    set S(bd_changed) 1
}

mock::command connect_bd_net {} {2 100} {
    need_bd
    set driver ""
    foreach handle $p {
        lassign [cell_of [key bd_pin $handle]] cell name
        foreach {pin direction kind -} [cell_pins $cell] {
            if {$pin ne $name} continue
            if {[dict exists [state nets] $handle]} { fail "$handle is connected already" }
            lappend kinds $kind
            if {$direction eq "out"} { lappend driver $handle }
        }
    }
    if {[llength $driver] != 1} { fail "a net needs one driver, got: $driver" }
    if {[llength [lsort -unique $kinds]] != 1} { fail "a net of different kinds of signals: $p are $kinds" }
    if {[llength [lsort -unique $p]] != [llength $p]} { fail "a pin is given twice" }
    foreach handle $p { dict set S(nets) $handle $driver }
    set S(bd_changed) 1
}

# Address spaces: name and the interface that it leaves by.
proc mock::address_spaces {} {
    variable S
    set list {}
    foreach cell [state cells] {
        if {$S(ip,$cell) eq "processing_system7:5.5"} { lappend list $cell/Data $cell/M_AXI_GP0 }
        if {![dict exists [state catalog] $S(ip,$cell)]} continue
        foreach {mode bus name -} [lindex [dict get $S(catalog) $S(ip,$cell)] 2] {
            if {$mode eq "master"} { lappend list $cell/$name $cell/$bus }
        }
    }
    return $list
}

# Segments: name, the interface that leads to it, bytes.
proc mock::segments {} {
    variable S
    variable ddr_bytes
    set list {}
    foreach cell [state cells] {
        if {$S(ip,$cell) eq "processing_system7:5.5"} {
            set part [option $S(config,$cell) PCW_UIPARAM_DDR_PARTNO],[option $S(config,$cell) PCW_UIPARAM_DDR_BUS_WIDTH]
            foreach i {0 1 2 3} {
                if {[on $S(config,$cell) PCW_USE_S_AXI_HP$i]} {
                    lappend list $cell/S_AXI_HP$i/HP${i}_DDR_LOWOCM $cell/S_AXI_HP$i [option $ddr_bytes $part 0]
                }
            }
        }
        if {![dict exists [state catalog] $S(ip,$cell)]} continue
        foreach {mode bus name bytes} [lindex [dict get $S(catalog) $S(ip,$cell)] 2] {
            if {$mode eq "slave"} { lappend list $cell/$bus/$name $cell/$bus $bytes }
        }
    }
    return $list
}

mock::command get_bd_addr_spaces {} {1 1} {
    foreach {name -} [address_spaces] {
        if {$name eq [lindex $p 0]} { return space|$name }
    }
    fail "no address space '[lindex $p 0]'"
}

mock::command get_bd_addr_segs {} {1 1} {
    foreach {name - -} [segments] {
        if {$name eq [lindex $p 0]} { return segment|$name }
    }
    fail "no address segment '[lindex $p 0]'"
}

# Slave interfaces that a master interface reaches through SmartConnects.
proc mock::reachable {interface} {
    variable S
    if {![dict exists [state links] bd_intf_pin|$interface]} { return {} }
    set other [dict get $S(links) bd_intf_pin|$interface]
    lassign [split [key bd_intf_pin $other] /] cell name
    if {$S(ip,$cell) ne "smartconnect:1.0"} { return $cell/$name }
    set found {}
    foreach {pin mode -} [cell_interfaces $cell] {
        if {$mode eq "master"} { lappend found {*}[reachable $cell/$pin] }
    }
    return $found
}

mock::command assign_bd_address {-offset 1 -range 1 -target_address_space 1 -force 0} {1 1} {
    need_bd
    foreach name {-offset -range -target_address_space} { need_option assign_bd_address $o $name }
    set space [key space [dict get $o -target_address_space]]
    set segment [key segment [lindex $p 0]]
    set range [bytes [dict get $o -range]]
    set offset [bytes [dict get $o -offset]]
    foreach {name interface bytes} [segments] {
        if {$name ne $segment} continue
        if {$range != $bytes} { fail "$segment has $bytes bytes, assigned are $range" }
        if {$interface ni [reachable [dict get [address_spaces] $space]]} { fail "$space does not reach $segment" }
    }
    if {$offset % $range} { fail "offset [dict get $o -offset] is no multiple of the range" }
    set gp0 [string match */Data $space]
    if {$gp0 && ($offset < 0x40000000 || $offset + $range > 0x80000000)} { fail "GP0 does not reach [dict get $o -offset]" }
    if {!$gp0 && $offset != 0} { fail "memory begins at 0 for the HP ports too" }
    if {[dict exists [state assigned] $space]} { fail "$space is assigned already" }
    dict set S(assigned) $space $segment
    set S(bd_changed) 1
}

mock::command validate_bd_design {} {0 0} {
    need_bd
    foreach cell [state cells] {
        foreach {name mode vlnv} [cell_interfaces $cell] {
            if {![dict exists [state links] bd_intf_pin|$cell/$name]} { fail "interface $cell/$name is not connected" }
        }
        foreach {pin direction kind needed} [cell_pins $cell] {
            if {$needed && ![dict exists [state nets] bd_pin|$cell/$pin]} { fail "$kind pin $cell/$pin is not connected" }
        }
        check_cell $cell
    }
    foreach {space interface} [address_spaces] {
        if {![dict exists [state assigned] $space]} { fail "address space $space has nothing assigned" }
    }
    set S(bd_changed) 0
    set S(bd_valid) 1
    set S(bd_saved) 0
}

# Settings of the processing system; one clock for everything that is connected.
proc mock::check_cell {cell} {
    variable S
    set config $S(config,$cell)
    set clocks {}
    foreach {pin direction kind needed} [cell_pins $cell] {
        if {$kind eq "clock" && $direction eq "in"} { lappend clocks [dict get $S(nets) bd_pin|$cell/$pin] }
    }
    if {[llength [lsort -unique $clocks]] > 1} { fail "the AXI clocks of $cell differ" }
    if {$S(ip,$cell) eq "smartconnect:1.0" && [option $config NUM_CLKS 0] != 1} { fail "$cell has not one clock" }
    if {$S(ip,$cell) ne "processing_system7:5.5"} return
    foreach i {0 1 2 3} {
        if {[on $config PCW_USE_S_AXI_HP$i] && [option $config PCW_S_AXI_HP${i}_DATA_WIDTH] ne "64"} { fail "HP$i is not 64 bits wide" }
    }
    if {![on $config PCW_UART0_PERIPHERAL_ENABLE] && ![on $config PCW_UART1_PERIPHERAL_ENABLE]} { fail "no serial port" }
    foreach {io enable} {ENET0_ENET0_IO ENET0_PERIPHERAL_ENABLE ENET0_GRP_MDIO_IO ENET0_GRP_MDIO_ENABLE ENET0_RESET_IO ENET0_RESET_ENABLE
        SD0_SD0_IO SD0_PERIPHERAL_ENABLE SD0_GRP_CD_IO SD0_GRP_CD_ENABLE SD0_GRP_WP_IO SD0_GRP_WP_ENABLE USB0_USB0_IO USB0_PERIPHERAL_ENABLE
        USB0_RESET_IO USB0_RESET_ENABLE UART0_UART0_IO UART0_PERIPHERAL_ENABLE UART1_UART1_IO UART1_PERIPHERAL_ENABLE} {
        if {[dict exists $config PCW_$io] && ![on $config PCW_$enable]} { fail "PCW_$io without PCW_$enable" }
    }
    check_pins $config
}

# No pin of the multiplexed I/O has two uses.
proc mock::check_pins {config} {
    set used {}
    dict for {name value} $config {
        if {![regexp {^MIO ([0-9]+)(?: .. ([0-9]+))?$} $value - first last]} continue
        for {set i $first} {$i <= ($last eq "" ? $first : $last)} {incr i} {
            if {$i > 53} { fail "there is no MIO $i" }
            if {[dict exists $used $i]} { fail "MIO $i is used by $name and [dict get $used $i]" }
            dict set used $i $name
        }
    }
}

mock::command save_bd_design {} {0 0} {
    need_bd
    set S(bd_saved) 1
}

mock::command generate_target {} {2 2} {
    if {[lindex $p 0] ne "all" || [key file [lindex $p 1]] ne [file normalize [bd_path bd]]} { fail "generate_target takes all and the block design" }
    if {![state bd_valid 0] || [state bd_changed 1] || ![state bd_saved 0]} { fail "the block design is not validated and saved" }
    write_text [bd_path hwh] "mock of a hardware handoff\n"
    set S(generated) 1
}

mock::command make_wrapper {-files 1 -top 0} {0 0} {
    if {[key file [need_option make_wrapper $o -files]] ne [file normalize [bd_path bd]] || ![dict exists $o -top]} { fail "make_wrapper" }
    write_text [bd_path wrapper] "module $S(bd)_wrapper;\nendmodule\n"
    return [bd_path wrapper]
}

# What system.tcl must leave.
proc mock::expect_system {arguments} {
    variable S
    set board [lindex $arguments 0]
    foreach name {brickwork.bit brickwork.hwh brickwork.xsa utilization.rpt timing.rpt} {
        need_result [file join vivado_build $board $name]
    }
    if {![state slack_read 0]} { fail "nobody looked at the slack" }
    if {![state progress_read 0]} { fail "nobody looked whether the run is complete" }
    variable board_settings
    set settings [dict get $board_settings $board]
    need_part [dict get $settings part]
    foreach cell $S(cells) {
        if {$S(ip,$cell) eq "processing_system7:5.5"} { check_board [dict get $settings ps7] $S(config,$cell) }
    }
    if {$S(jobs) != [expr {[llength $arguments] > 1 ? [lindex $arguments 1] : 2}]} { fail "$S(jobs) jobs" }
}

# Settings that belong to the board, not to the accelerator, are those of the board; the clock is the configuration's.
proc mock::check_board {wanted config} {
    variable S
    regexp {"clock_mhz": ([0-9]+)} [read_text [file join $S(root) config.json]] - mhz
    dict set wanted PCW_FPGA0_PERIPHERAL_FREQMHZ $mhz
    dict for {name value} $config {
        if {[regexp {^PCW_(EN_|USE_|IRQ_F2P_INTR|S_AXI_HP)} $name]} continue
        if {[option $wanted $name] ne $value} { fail "$name is '$value', of the board '[option $wanted $name]'" }
        dict unset wanted $name
    }
    if {$wanted ne ""} { fail "settings of the board are missing: $wanted" }
}
