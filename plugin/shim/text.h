/*
 * Text in a buffer of fixed size, and JSON strings in it. What does not fit is left out and `overflow` says so.
 */
#ifndef WEFT_TEXT_H
#define WEFT_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

struct text {
  char *bytes;
  size_t size;
  size_t length;
  bool overflow;
};

static void text_add(struct text *text, const char *bytes, size_t length) {
  if (length > text->size - text->length) {
    text->overflow = true;
    return;
  }
  memcpy(text->bytes + text->length, bytes, length);
  text->length += length;
}

static void text_string(struct text *text, const char *string) {
  text_add(text, string, strlen(string));
}

/* The length of the UTF-8 character at `at`, or 0 when there is none (overlong forms and surrogates are none). */
static size_t utf8_length(const unsigned char *at, size_t left) {
  unsigned char first = at[0];
  if (first < 0x80) return 1;
  size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || length > left) return 0;
  for (size_t i = 1; i < length; i++)
    if ((at[i] & 0xc0) != 0x80) return 0;
  if (first == 0xe0 && at[1] < 0xa0) return 0;
  if (first == 0xed && at[1] > 0x9f) return 0;
  if (first == 0xf0 && at[1] < 0x90) return 0;
  if (first == 0xf4 && at[1] > 0x8f) return 0;
  return length;
}

static void text_json_ascii(struct text *text, unsigned char byte) {
  char escaped[8];
  if (byte == '"' || byte == '\\') {
    escaped[0] = '\\';
    escaped[1] = (char)byte;
    text_add(text, escaped, 2);
  } else if (byte < 0x20) {
    snprintf(escaped, sizeof escaped, "\\u%04x", byte);
    text_add(text, escaped, 6);
  } else {
    text_add(text, (const char *)&byte, 1);
  }
}

/* A JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD each, as in Go's encoder. */
static void text_json(struct text *text, const char *bytes, size_t length) {
  const unsigned char *at = (const unsigned char *)bytes;
  text_string(text, "\"");
  while (length > 0) {
    size_t character = utf8_length(at, length);
    if (character == 0) {
      text_string(text, "\xef\xbf\xbd");
      character = 1;
    } else if (character == 1) {
      text_json_ascii(text, *at);
    } else {
      text_add(text, (const char *)at, character);
    }
    at += character;
    length -= character;
  }
  text_string(text, "\"");
}

static void text_json_string(struct text *text, const char *string) {
  text_json(text, string, strlen(string));
}

#endif
