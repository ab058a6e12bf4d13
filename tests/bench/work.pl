# SPDX-License-Identifier: GPL-2.0-only
# Work for another interpreter: regular expressions and hashes over text.
use strict;
use warnings;

my (%count, $long);
open my $words, '<', '/bench/words' or die $!;
while (my $line = <$words>) {
	chomp $line;
	$count{$1}++ while $line =~ /([a-z]{2})/g;
	$long++ if $line =~ /^(\w+)\w*\1$/;
}
print join(' ', map { "$_=$count{$_}" } sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count), " $long\n";
