# What the sandbox of maintainer scripts sees (see mod.rs). Run with the rights to mount in a mount namespace of its own.
# $1: the scratch folder with archive/, seed, preload.so, build/ and tmp/; $2: the id that root of the sandbox has here;
# $3: its uid_map, with \n; then the command.
umask 022
scratch=$1 base=$2 ids=$3
shift 3
# Standard input ends when the builder does.
exec 3<&0 </dev/null

# Whatever the builder's umask: another user reads them.
chmod -R u=rwX,go=rX "$scratch/archive" "$scratch/seed" "$scratch/preload.so"
chmod 755 "$scratch/build" "$scratch/tmp"

mkdir -p "$scratch/root"
mount -t tmpfs -o mode=755,size=4m,nosuid,nodev sandbox "$scratch/root"
cd "$scratch/root"
mkdir usr etc proc sys dev dev/pts dev/shm tmp run archive build old home root var var/lib var/cache var/tmp \
    etc/apt etc/apt/apt.conf.d etc/apt/preferences.d etc/dpkg
read_only=remount,bind,ro,nosuid,nodev
mount --rbind /usr usr
mount -o $read_only usr
for folder in bin sbin lib lib32 lib64 libx32; do
    if [ -L /$folder ]; then
        cp -P /$folder $folder
    elif [ -d /$folder ]; then
        mkdir $folder
        mount --rbind /$folder $folder
        mount -o $read_only $folder
    fi
done
if [ -d /etc/alternatives ]; then
    mkdir etc/alternatives
    mount --bind /etc/alternatives etc/alternatives
    mount -o $read_only,noexec etc/alternatives
fi
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n' >etc/passwd
printf 'root:x:0:\nnogroup:x:65534:\n' >etc/group
echo localhost >etc/hostname
for device in null zero full tty; do
    : >dev/$device
    mount --bind /dev/$device dev/$device
done
for device in random urandom; do
    : >dev/$device
    mount --bind "$scratch/seed" dev/$device
    mount -o $read_only,noexec dev/$device
done
cp "$scratch/preload.so" dev/psyops-preload.so
echo /dev/psyops-preload.so >etc/ld.so.preload
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
ln -s pts/ptmx dev/ptmx
mount -t proc -o nosuid,nodev,noexec proc proc
mount --bind "$scratch/archive" archive
mount -o $read_only,noexec archive
chown "$base:$base" "$scratch/build" "$scratch/tmp"
for folder in build tmp var/tmp; do
    mount --bind "$scratch/${folder#var/}" $folder
    mount -o remount,bind,nosuid,nodev $folder
done
hostname localhost
mkfifo run/ready run/go
# What the first process of the sandbox does until its ids are mapped, and then as root of the sandbox.
cat >run/enter <<'END'
exec 3<&-
echo >/run/ready
read go </run/go
exec setpriv --reuid=0 --regid=0 --clear-groups --inh-caps=-all --ambient-caps=-all -- sh -e /run/prepare "$@"
END
cat >run/prepare <<'END'
mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t devpts -o nosuid,noexec,newinstance,ptmxmode=0666 devpts /dev/pts
# Its own loopback, which some scripts want up; SIOCSIFFLAGS (netdevice(7)) with IFF_UP.
perl -MSocket -e 'my $up = pack("a16sx22", "lo", 1); socket(S, AF_INET, SOCK_DGRAM, 0) && ioctl(S, 0x8914, $up) or die "lo: $!"'
unset OLDPWD
exec setpriv --no-new-privs -- setarch --addr-no-randomize "$@"
END
pivot_root . old
cd /
umount -l /old
rmdir /old

# The second user namespace does not know the id of the builder, and its mounts cannot be undone in it. Tried first: where
# there is none, nothing would ever write to /run/ready.
inner="--user --keep-caps --mount --pid --fork --kill-child --net --ipc --uts"
unshare $inner -- true
unshare $inner -- sh -e /run/enter "$@" &
pid=$!
(read end <&3 || kill -KILL $pid) &
read ready </run/ready
printf '%b' "$ids" >/proc/$pid/uid_map
printf '%b' "$ids" >/proc/$pid/gid_map
echo >/run/go
code=0
wait $pid || code=$?
rm -rf /build/* /tmp/*
exit $code
