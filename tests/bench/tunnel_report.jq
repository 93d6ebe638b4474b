# SPDX-License-Identifier: Apache-2.0
#
# One line for each of ours beside each peer, from the runs of b_tunnel.sh: $runs {who, round, v}, $envs {who, env}.
def median: sort | .[length / 2 | floor];
def r: if . == null then null elif . == 0 then 0 else
	(fabs | log10 | floor) as $e | (if $e >= 3 then 1 else pow(10; 3 - $e) end) as $k | (. * $k | round) / $k end;
def of(who): [$runs[] | select(.who == who)];
def value: .v[$f];
def others: map(.v | del(.[$f], .limit)) | (map(keys) | add | unique) as $keys | . as $all |
	[$keys[] | . as $k | {key: $k, value: ([$all[][$k] | numbers] | if length == 0 then null else median | r end)}] | from_entries;
# In kernel mode much of the work is outside the processes: a ratio of theirs would compare what is not alike.
def comparable($who): ($who == "penstock-kernel" and ($bench | test("^cpu_s_per_gb_(client|gateway)_"))) | not;
def limits: map(.v.limit | strings) | unique;
def env(who): [$envs[] | select(.who == who) | .env][0];
def ours: startswith("penstock");
def line($who; $peer):
	of($who) as $o | (if $peer then of($peer) else [] end) as $t | [$o[] | value | numbers] as $v | [$t[] | value | numbers] as $w |
	[$o[] | . as $x | $t[] | select(.round == $x.round) | [($x | value), value] |
		select(comparable($who) and all(type == "number" and . > 0)) | if $better == "less" then .[1] / .[0] else .[0] / .[1] end] as $ratios |
	select($v | length > 0) |
	{$bench, $metric, $unit, median: ($v | median | r), min: ($v | min | r), max: ($v | max | r), n: ($v | length), $who, $peer,
	peer_median: ($w | if length > 0 then median | r else null end), peer_min: ($w | min | r), peer_max: ($w | max | r),
	ratio: ($ratios | if length > 0 then median | r else null end), ratio_min: ($ratios | min | r), ratio_max: ($ratios | max | r),
	$better, $handicap} + (if ($o | limits) == [] then {} else {limits: ($o | limits), their_limits: ($t | limits)} end) +
	{ours: ($o | others), theirs: ($t | if length > 0 then others else null end),
	env: ($machine + env($who) + {steal_pct: ([$o[], $t[] | .v.steal_pct // 0] | max | r), content: "verified",
		peer: (if $peer then env($peer) else null end)})};
	([$runs[].who] | unique | map(select(ours)))[] as $who |
	([$runs[].who] | unique | map(select(ours | not)) | if length == 0 then [null] else . end)[] as $peer | line($who; $peer)
