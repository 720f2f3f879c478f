#!/bin/busybox sh
# The first process of the virtual machine: the host's root, read-only below and writable above in memory; the task; the end.
# The kernel speaks on ttyS0, the task on ttyS1; ttyS2 takes its exit code.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
stty -F /dev/ttyS1 raw

modprobe -a virtio_pci 9pnet_virtio 9p overlay || exit 1
mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=524288,cache=loose host /host || exit 1
mount -t tmpfs -o size=75% tmpfs /memory
mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work overlay /root || exit 1
mount -t tmpfs tmpfs /root/run
mount -t proc proc /root/proc
mount -t sysfs sysfs /root/sys
mount -t devtmpfs dev /root/dev
ln -s /proc/self/fd /root/dev/fd
ln -s /proc/self/fd/0 /root/dev/stdin
ln -s /proc/self/fd/1 /root/dev/stdout
ln -s /proc/self/fd/2 /root/dev/stderr
mkdir -p /root/dev/shm
mount -t tmpfs tmpfs /root/dev/shm
# All of the kernel's modules, for those it calls for by itself (/sbin/modprobe).
mount --bind "/host$(cat /modules)" /lib/modules || exit 1

ip link set lo up
hostname weft-vm
cp /task /root/run/task
{
  chroot /root /bin/sh /run/task
  echo $? >/dev/ttyS2
} </dev/null 2>&1 | cat >/dev/ttyS1
poweroff -f
