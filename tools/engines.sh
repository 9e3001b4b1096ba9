#!/bin/sh
# Install from Debian the programs that real-engine tests run (`engine(name)` in tests/). Nothing is started.
# One program:package a line; a program that is there already is left alone, so a second run needs no network.
set -eu
PATH=$PATH:/usr/sbin # where Debian keeps daemons, out of a user's path
ENGINES='
swaks:swaks
openssl:openssl
dovecot:dovecot-lmtpd
postfix:postfix
clamd:clamav-daemon
rspamd:rspamd
spamd:spamd
spamassassin:spamassassin
strace:strace
gcc:gcc
cc:libc6-dev
'
wanted=
for line in $ENGINES; do
  command -v "${line%%:*}" >/dev/null 2>&1 || wanted="$wanted ${line#*:}"
done
if [ -z "$wanted" ]; then echo "engines: all there"; exit 0; fi
if ! command -v apt-get >/dev/null 2>&1; then
  echo "engines: cannot install$wanted: this is no Debian. Install them by your own package manager." >&2; exit 3
fi
as_root=
if [ "$(id -u)" -ne 0 ]; then
  if command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then as_root=sudo
  else echo "engines: cannot install$wanted: run as root, or: sudo apt-get install$wanted" >&2; exit 3; fi
fi
# Packages of daemons start them at once; 101 from this file tells them not to.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap '$as_root rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
  $as_root chmod 755 "$policy"
fi
$as_root apt-get update -q
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $wanted
