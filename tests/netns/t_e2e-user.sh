#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The client reaches the server in --mode=user: TCP and UDP, IPv4 and IPv6, both directions, and not one packet
# is counted by the kernel executor.
# timeout: 240
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/e2e.sh"
need_lab
lab_up MODE=user
check "gateway: kernel executor is off" [ "$(status gateway .kernel.active)" = false ]
everything user
finish
