#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The client reaches the server in --mode=kernel: TCP and UDP, IPv4 and IPv6, both directions; the kernel
# carries at least 95 % of small packets on both sides.
# timeout: 240
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/e2e.sh"
need_lab
need_bpf
lab_up MODE=kernel
check "gateway: kernel executor is active" [ "$(status gateway .kernel.active)" = true ]
check "client: kernel executor is active" [ "$(status client .kernel.active)" = true ]
everything kernel
finish
