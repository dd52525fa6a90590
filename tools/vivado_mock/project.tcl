# SPDX-License-Identifier: Apache-2.0 OR MIT
# Projects, files, synthesis, place and route, runs, reports.

namespace eval mock {}

mock::properties project {IP_REPO_PATHS .+ DIRECTORY {} PART {}}
mock::properties fileset {TOP [A-Za-z_][A-Za-z0-9_]*}
mock::properties file {USED_IN {(synthesis|implementation|out_of_context|simulation)( (synthesis|implementation|out_of_context|simulation))*}}
mock::properties run {PROGRESS {} STATUS {} DIRECTORY {}}
mock::properties path {SLACK {}}
mock::properties port {HD.CLK_SRC {BUFGCTRL_X0Y([0-9]|[12][0-9]|3[01])}}

proc mock::state {name {default ""}} {
    variable S
    if {[info exists S($name)]} { return $S($name) }
    return $default
}

proc mock::need_project {} {
    if {[state project] eq ""} { fail "no project is open" }
}

# Modules of a Verilog file.
proc mock::modules {path} {
    set names {}
    foreach {- name} [regexp -all -inline -line {^module\s+([A-Za-z_][A-Za-z0-9_]*)} [read_text $path]] { lappend names $name }
    return $names
}

# Ports of the module in a Verilog file: name, direction, width.
proc mock::ports {path} {
    set list {}
    foreach {- direction - high name} [regexp -all -inline -line \
        {^\s*(input|output)\s+wire\s+(\[([0-9]+):0\]\s+)?([A-Za-z_][A-Za-z0-9_]*)} [read_text $path]] {
        lappend list $name $direction [expr {$high eq "" ? 1 : $high + 1}]
    }
    if {$list eq ""} { fail "no ports in $path" }
    return $list
}

proc mock::add_source {path} {
    variable S
    if {![file isfile $path]} { fail "there is no file '$path'" }
    set path [file normalize $path]
    if {[dict exists [state sources] $path]} { fail "'$path' is added twice" }
    set modules [expr {[file extension $path] eq ".v" ? [modules $path] : ""}]
    dict set S(sources) $path $modules
}

# The file that has a module.
proc mock::file_of {module} {
    dict for {path modules} [state sources] {
        if {$module in $modules} { return $path }
    }
    fail "no source has a module '$module'"
}

# All of the generated Verilog was given.
proc mock::need_all_rtl {} {
    variable S
    foreach path [glob -directory [file join $S(root) rtl] *.v] {
        if {![dict exists [state sources] [file normalize $path]]} { fail "source '$path' is missing" }
    }
}

mock::command set_part {} {1 1} {
    set S(part) [known_part [lindex $p 0]]
    set S(project) memory
}

mock::command create_project {-force 0 -part 1} {2 2} {
    if {[state project] ne ""} { fail "a project is open already" }
    lassign $p S(project) S(directory)
    set S(part) [known_part [need_option create_project $o -part]]
    set file [file join $S(directory) $S(project).xpr]
    if {[file exists $file] && ![dict exists $o -force]} { fail "project $file exists" }
    write_text $file "mock of a project\n"
}

mock::command close_project {} {0 0} {
    need_project
    set S(project) ""
}

mock::command current_project {} {0 0} {
    need_project
    return project|$S(project)
}

mock::command current_fileset {} {0 0} {
    need_project
    return fileset|sources_1
}

proc mock::on_project_IP_REPO_PATHS {key value} {
    foreach path $value {
        if {![file isdirectory $path]} { fail "IP repository '$path' does not exist" }
    }
}

proc mock::on_fileset_TOP {key value} {
    variable S
    file_of $value
    set S(top) $value
}

mock::command add_files {-norecurse 0 -fileset 1} {1 1} {
    need_project
    set fileset [option $o -fileset sources_1]
    if {$fileset ni {sources_1 constrs_1}} { fail "no file set '$fileset'" }
    if {[llength [lindex $p 0]] == 0} { fail "add_files: no files" }
    foreach path [lindex $p 0] {
        set constraint [expr {[file extension $path] eq ".xdc"}]
        if {$constraint != ($fileset eq "constrs_1")} { fail "'$path' does not belong into $fileset" }
        add_source $path
        if {$constraint} { run_xdc $path }
    }
}

mock::command get_files {} {1 1} {
    need_project
    set found [lsearch -all -inline [dict keys [state sources]] */[lindex $p 0]]
    if {[llength $found] != 1} { fail "no file '[lindex $p 0]' in the project" }
    return file|[lindex $found 0]
}

mock::command update_compile_order {-fileset 1} {0 0} {
    need_project
    if {[need_option update_compile_order $o -fileset] ne "sources_1"} { fail "no such file set" }
}

mock::command read_verilog {} {1 1} {
    need_project
    foreach path [lindex $p 0] { add_source $path }
}

mock::command read_xdc {-mode 1} {1 1} {
    need_project
    if {[option $o -mode] ni {"" default out_of_context}} { fail "read_xdc: unknown mode" }
    add_source [lindex $p 0]
    set S(xdc_mode) [option $o -mode default]
    run_xdc [lindex $p 0]
}

# Constraints know three commands here.
proc mock::run_xdc {path} {
    variable S
    set S(top_ports) [ports [file join $S(root) rtl brickwork_top.v]]
    set child [interp create]
    foreach command [interp eval $child {info commands}] { interp hide $child $command }
    foreach command {create_clock get_ports set_property} { interp alias $child $command {} ::mock::call $command }
    set failed [catch { interp invokehidden $child eval [read_text $path] } message]
    interp delete $child
    if {$failed} { fail "$path: $message" }
    if {[state clocks] eq ""} { fail "$path has no clock" }
}

mock::command get_ports {} {1 1} {
    set name [lindex $p 0]
    foreach {port direction -} $S(top_ports) {
        if {$port eq $name} { return port|$name }
    }
    fail "brickwork_top has no port '$name'"
}

mock::command create_clock {-period 1 -name 1} {1 1} {
    set period [need_option create_clock $o -period]
    if {![string is double -strict $period] || $period < 1 || $period > 1000} { fail "clock period '$period'" }
    if {[key port [lindex $p 0]] ne "aclk"} { fail "the clock is aclk" }
    if {[need_option create_clock $o -name] in [state clocks]} { fail "two clocks of one name" }
    lappend S(clocks) [dict get $o -name]
    set json [read_text [file join $S(root) config.json]]
    regexp {"clock_mhz": ([0-9]+)} $json - mhz
    if {abs($period * $mhz - 1000) > 1} { fail "period $period ns is not that of $mhz MHz" }
}

mock::command synth_design {-top 1 -part 1 -mode 1 -flatten_hierarchy 1} {0 0} {
    need_project
    if {[known_part [need_option synth_design $o -part]] ne $S(part)} { fail "two parts" }
    set top [need_option synth_design $o -top]
    if {$top ne "brickwork_top"} { fail "the top is brickwork_top" }
    file_of $top
    need_all_rtl
    if {[option $o -mode] ne "out_of_context"} { fail "without out_of_context each port becomes a pin, and there are too few" }
    if {[state xdc_mode] ne "out_of_context"} { fail "no constraints for out-of-context synthesis" }
    if {[option $o -flatten_hierarchy rebuilt] ni {rebuilt full none}} { fail "flatten_hierarchy" }
    set S(step) synthesized
}

foreach {step from to} {opt_design synthesized optimized place_design optimized placed phys_opt_design placed placed route_design placed routed} {
    mock::command $step {} {0 0} [string map [list FROM $from TO $to STEP $step] {
        if {[state step] ne "FROM"} { fail "STEP comes after FROM, the design is '[state step]'" }
        set S(step) TO
    }]
}

proc mock::need_design {} {
    if {[state step] eq ""} { fail "no design is open" }
}

# A report or checkpoint of the design as it is.
proc mock::product {kind path} {
    variable S
    need_design
    if {$path eq ""} { fail "$kind without a file is lost in the log" }
    write_text $path "mock: $kind, design $S(step)\n"
    lappend S(products) $kind $S(step)
}

mock::command write_checkpoint {-force 0} {1 1} { product checkpoint [lindex $p 0] }
mock::command report_utilization {-hierarchical 0 -file 1} {0 0} { product utilization [option $o -file] }
mock::command report_timing_summary {-max_paths 1 -file 1} {0 0} { product timing [option $o -file] }
mock::command report_route_status {-file 1} {0 0} { product route [option $o -file] }

mock::command get_timing_paths {-setup 0 -hold 0 -max_paths 1} {0 0} {
    need_design
    if {![string is integer -strict [option $o -max_paths 1]]} { fail "get_timing_paths: -max_paths" }
    set S(worst_path) [dict exists $o -setup]
    return path|worst
}

proc mock::read_path_SLACK {key} {
    variable S
    if {$S(worst_path) && $S(step) eq "routed"} { set S(slack_read) 1 }
    return $S(slack)
}

# Runs of a project.
mock::command launch_runs {-to_step 1 -jobs 1} {1 1} {
    need_project
    if {[lindex $p 0] ne "impl_1"} { fail "no run '[lindex $p 0]'" }
    if {[option $o -to_step] ne "write_bitstream"} { fail "the run stops before the bitstream" }
    set S(jobs) [need_option launch_runs $o -jobs]
    if {![regexp {^[1-9][0-9]*$} $S(jobs)]} { fail "launch_runs: -jobs $S(jobs)" }
    if {[state top] ne "system_wrapper"} { fail "the top is '[state top]', not the wrapper of the block design" }
    if {![state generated 0]} { fail "the block design's files are not generated" }
    set S(run) launched
}

mock::command wait_on_run {} {1 1} {
    if {[lindex $p 0] ne "impl_1" || [state run] ne "launched"} { fail "no run to wait for" }
    set S(run) complete
    if {$S(progress) eq "100%"} { write_text [file join [run_directory] $S(top).bit] "mock of a bitstream\n" }
}

mock::command get_runs {} {1 1} {
    if {[lindex $p 0] ni {synth_1 impl_1}} { fail "no run '[lindex $p 0]'" }
    return run|[lindex $p 0]
}

proc mock::run_directory {} {
    variable S
    return [file join $S(directory) $S(project).runs impl_1]
}

proc mock::read_run_PROGRESS {key} {
    variable S
    set S(progress_read) 1
    return [expr {[state run] eq "complete" && $key eq "impl_1" ? $S(progress) : "0%"}]
}
proc mock::read_run_STATUS {key} { return "mock of a status" }
proc mock::read_run_DIRECTORY {key} {
    if {$key ne "impl_1"} { fail "synth_1 has no bitstream" }
    return [run_directory]
}

mock::command open_run {} {1 1} {
    if {[lindex $p 0] ne "impl_1" || [state run] ne "complete" || $S(progress) ne "100%"} { fail "impl_1 has no design to open" }
    set S(step) routed
}

mock::command write_hw_platform {-fixed 0 -include_bit 0 -force 0 -file 1} {0 0} {
    if {[state run] ne "complete"} { fail "no implementation to export" }
    foreach name {-fixed -include_bit} { need_option write_hw_platform $o $name }
    write_text [need_option write_hw_platform $o -file] "mock of a hardware platform\n"
}

# What synth.tcl must leave.
proc mock::expect_synth {arguments} {
    variable S
    need_part $S(config_part)
    if {[state step] ne "routed"} { fail "the design is '[state step]' at the end, not routed" }
    set products [state products]
    foreach {kind step} {utilization synthesized timing synthesized checkpoint synthesized utilization routed timing routed checkpoint routed route routed} {
        set found 0
        foreach {k s} $products { incr found [expr {$k eq $kind && $s eq $step}] }
        if {$found != 1} { fail "there are $found of: $kind, $step" }
    }
    foreach name {synth_utilization.rpt synth_timing.rpt routed_utilization.rpt routed_timing.rpt routed.dcp synth.dcp route_status.rpt} {
        need_result [file join vivado_build synth $name]
    }
    if {![state slack_read 0]} { fail "nobody looked at the slack" }
}

proc mock::need_part {part} {
    variable S
    if {$S(part) ne $part} { fail "the part is $S(part), it should be $part" }
}

# A file that this script must have written.
proc mock::need_result {name} {
    variable S
    set path [file join $S(root) $name]
    if {$path ni [state written] || ![file isfile $path]} { fail "$name was not written" }
}
