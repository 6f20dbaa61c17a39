/*
 * hpack.h - header blocks to requests, fast (RFC 7541)
 *
 * Why not nghttp2's own decoder: it decodes Huffman text four bits at a time and
 * allocates per field; a provider token is some 250 characters that senders never
 * index, so that alone cost more than all the rest of a request. h2.c decodes
 * blocks here and hands nghttp2 the same frames with an empty block; nghttp2 keeps
 * doing streams, flow control, settings and everything that is sent.
 *
 * One table per connection. The table's size is always the default, 4096.
 */
#ifndef HM_SINK_HPACK_H
#define HM_SINK_HPACK_H

#include "sink.h"

#define HPACK_TABLE   4096u
#define HPACK_ENTRIES (HPACK_TABLE / 32)

struct hpack_entry {
	uint32_t at, name_len, value_len; /* name, then value */
	bool good;			  /* nothing in it is forbidden in HTTP/2 */
};

struct hpack {
	struct hpack_entry v[HPACK_ENTRIES]; /* ring */
	uint32_t head, n;		     /* newest is v[head] */
	uint32_t size, max;		     /* as RFC 7541 section 4.1 counts */
	uint32_t pos;			     /* end of the bytes in `text` */
	char text[4 * HPACK_TABLE];
	/* The last never-indexed value: senders repeat a credential in every request. */
	uint32_t memo_in, memo_out; /* lengths, 0 = none */
	uint8_t memo_enc[1024];
	char memo_dec[1640];
};

void hpack_global_init(void); /* once, before threads */
void hpack_init(struct hpack *h);
/*
 * Decodes a whole block into r: method, path, headers. Returns false when the
 * block itself is broken (COMPRESSION_ERROR, the connection is lost). Fields HTTP/2
 * forbids set r->malformed, too many or too long ones r->head_too_big; both keep
 * the table right.
 */
bool hpack_decode(struct hpack *h, const uint8_t *p, size_t n, struct sink_req *r) HM_MUSTCHECK;

#endif
