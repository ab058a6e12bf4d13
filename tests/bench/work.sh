# SPDX-License-Identifier: GPL-2.0-only
# What configure scripts do all day: small programs, one after the other, and pipes.
i=0
while [ $i -lt 40 ]; do
	i=$((i + 1))
	echo "$i $(expr $i \* 3)" | sed 's/ /-/' | tr 0-9 a-j
	[ "$(basename /a/b$i)" = "b$i" ] || echo wrong
	/bin/true
done
