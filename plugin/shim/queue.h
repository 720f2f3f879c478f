/*
 * DELs that no router was there to carry out, kept on disk until one is. Each is an empty file, whose name says what
 * to remove: CONTAINERID@IFNAME, every byte but letters, digits, - and _ as %XX. It is made and removed by one system
 * call, so that it is there or not, never half. router/cni/pending.ts reads it.
 */
#ifndef WEFT_QUEUE_H
#define WEFT_QUEUE_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Many times the pods of a node: so many are a fault elsewhere, which must not fill the disk. */
#define QUEUED_MAX 4096

/* Appends the file name's form of `value`. False when the name becomes too long. */
static bool queue_encode(char name[NAME_MAX + 1], const char *value) {
  size_t length = strlen(name);
  for (const unsigned char *at = (const unsigned char *)value; *at != 0; at++) {
    bool plain = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9') || *at == '-' || *at == '_';
    if (length + 3 > NAME_MAX) return false;
    length += (size_t)snprintf(name + length, 4, plain ? "%c" : "%%%02X", *at);
  }
  return true;
}

/* Makes the directory and those above it. Leaves it to the opening to fail when it cannot. */
static void queue_make_directory(const char *directory) {
  char path[PATH_MAX];
  if (snprintf(path, sizeof path, "%s", directory) >= (int)sizeof path) return;
  for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
    *slash = 0;
    mkdir(path, 0700);
    *slash = '/';
  }
  mkdir(path, 0700);
}

static bool queue_has_room(const char *directory) {
  DIR *entries = opendir(directory);
  if (entries == NULL) return false;
  int count = 0;
  while (count < QUEUED_MAX && readdir(entries) != NULL) count++;
  closedir(entries);
  if (count == QUEUED_MAX) errno = ENOSPC;
  return count < QUEUED_MAX;
}

/* True once it is on the disk; false with errno when it is not. */
static bool queue_delete(const char *directory, const char *container, const char *ifname) {
  char name[NAME_MAX + 1] = "";
  errno = ENAMETOOLONG;
  if (!queue_encode(name, container) || strlen(name) == NAME_MAX) return false;
  strcat(name, "@");
  if (!queue_encode(name, ifname)) return false;
  queue_make_directory(directory);
  if (!queue_has_room(directory)) return false;
  int folder = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return false;
  int file = openat(folder, name, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  bool kept = file >= 0 && fsync(file) == 0 && fsync(folder) == 0;
  int reason = errno;
  if (file >= 0) close(file);
  close(folder);
  errno = reason;
  return kept;
}

#endif
