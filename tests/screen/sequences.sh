# What few programs do, but any may: tabs, character sets, margins, saved cursors, wraps, modes. It leaves out where xterm.js is wrong
# (relative movements in origin mode) or unlike others (tab stops of each screen its own, colors that are set).
e=$'\e'
printf "$e[3g\r$e[5G${e}H$e[20G${e}H\r\ta\tb\tc\r\n"
printf "$e)0\016lqqk\017 text \016mqqj\017 $e(0abc$e(B\r\n"
printf "${e}7$e[31;1;4;5;7;9mstyled$e[21mdouble$e[24m$e[0m${e}8over\r\n"
printf "$e[5;20r$e[5;1Hfirst of the region\r\n$e[20;1H"
for n in 1 2 3 4 5 6 7 8 9 10; do printf "line $n $e[4${n%0}m$e[K$e[m\n\r"; done
printf "$e[5;1H${e}M${e}Min\r\n$e[3Linserted$e[2M$e[2S$e[1T"
printf "$e[?6h$e[2;3Horigin$e[99;5Hdown${e}7$e[?6l$e[r"
printf "$e[25;1H$e[44m$e[J$e[m$e[26;1H%0250d" 5
printf "$e[28;95Hlast co\b\bx$e[29;100Hz"
printf "$e[4h$e[10;5Hinserted \346\274\242$e[4l$e[10;1H$e[3P$e[2@$e[12G$e[4X"
printf "$e[?7l$e[11;90Hdoes not wrap at the end$e[?7h"
printf "$e[12;99H\346\274\242\345\255\227$e[12;1Hab$e[98Gx\346\274\242"
printf "$e[?1h$e=$e[?2004h$e[?1000h$e[?1002h$e[?1006h$e[?25l$e[3 q$e[?45h"
printf "$e]4;200;rgb:11/22/33$e\\\\$e]12;#102030\a$e]0;title\a$e]52;c;YQ==\a"
printf "$e[3g"
for n in 1 9 17 25 33 41 49 57 65 73 81 89 97; do printf "$e[${n}G${e}H"; done
printf "$e[?1049h$e[5;5H$e[45malternate$e[K$e[m${e}7$e[2;28r$e[10;10H"
printf "$e]8;id=x;https://a.example/\a$e[4:3;58:2::9:8:7mlink$e[0m here$e]8;;\a too"
printf "$e[1;1H$e[c$e[6n$e[?1\$p"
for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do printf "scrolled $n\n\r"; done
printf "${e}8saved$e[r$e[?1049l$e[?25h$e[?1000l"
printf "$e[30;1H\n\n\nmore$e[!p$e[mend e\314\201 \360\237\221\251\342\200\215\360\237\221\247 \342\235\244\357\270\217 \360\237\207\251\360\237\207\252 \340\244\225\340\245\215\340\244\267\r\n"
printf "a$e[20b\r\n$e#8$e[5;5H$e[1J$e[2K$e[15;50H$e[J"
