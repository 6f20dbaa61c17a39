/*
 * smpp.c - a client of SMPP that only sends: what the protocol allows, with nothing behind it
 *
 *   micro_smpp HOST PORT MESSAGES WINDOW
 *
 * Binds as transmitter and sends one submit_sm, made beforehand, again and again, another number each time, with at most WINDOW of them
 * unanswered. Prints "messages seconds refused".
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "smpp/pdu.h"

#define DIGITS 13u

static int fd;
static uint8_t in[65536];
static size_t have;

static void die(const char *why)
{
	fprintf(stderr, "micro_smpp: %s\n", why);
	exit(1);
}

static void put(const struct hm_buf *b)
{
	for (size_t off = 0; off < b->len;) {
		ssize_t n = write(fd, b->p + off, b->len - off);

		if (n <= 0)
			die("the connection is lost");
		off += (size_t)n;
	}
}

/* Answers of one read; at least one. */
static size_t answers(uint64_t *refused)
{
	size_t off, n = 0;

	do {
		ssize_t got = read(fd, in + have, sizeof(in) - have);

		if (got <= 0)
			die("the connection is lost");
		have += (size_t)got;
		for (off = 0; have - off >= SMPP_HEAD;) {
			struct smpp_head h;

			smpp_head_read(in + off, &h);
			if (h.length < SMPP_HEAD || h.length > sizeof(in))
				die("this is not SMPP");
			if (have - off < h.length)
				break;
			off += h.length;
			*refused += h.status != SMPP_ROK;
			n++;
		}
		memmove(in, in + off, have - off);
		have -= off;
	} while (n == 0);
	return n;
}

static void bind_(const char *host, const char *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
	struct smpp_bind b = {.id = SMPP_BIND_TRANSMITTER, .system_id = HM_STR("bench")};
	uint64_t refused = 0;
	struct hm_buf out;

	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0 || inet_pton(AF_INET, host, &a.sin_addr) != 1 ||
	    connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0)
		die("cannot connect");
	hm_buf_init(&out, 4096);
	smpp_put_bind(&out, 1, &b);
	put(&out);
	answers(&refused);
	hm_buf_fini(&out);
	if (refused)
		die("the bind was refused");
}

int main(int argc, char **argv)
{
	uint64_t total, window, sent = 0, done = 0, refused = 0, start;
	struct smpp_sm m = {
		.source = HM_STR("Acme"),
		.dest = HM_STR("8610000000000"),
		.dest_ton = 1,
		.dest_npi = 1,
		.message = HM_STR(
			"Hello Lin Wei, order 100000 has left our warehouse and arrives on Friday.")};
	struct hm_buf one, out;
	const char *at;

	if (argc != 5)
		die("usage: micro_smpp HOST PORT MESSAGES WINDOW");
	total = strtoull(argv[3], NULL, 10);
	window = strtoull(argv[4], NULL, 10);
	bind_(argv[1], argv[2]);
	hm_buf_init(&one, 4096);
	hm_buf_init(&out, 1u << 20);
	smpp_put_submit(&one, 0, &m, HM_STR(""), false);
	at = memmem(one.p, one.len, m.dest.p, DIGITS);
	hm_assert(at != NULL && window > 0 && window <= 1000);
	start = hm_clock_mono_ns();
	while (done < total) {
		hm_buf_reset(&out);
		for (; sent < total && sent - done < window; sent++) {
			uint32_t sequence = htonl((uint32_t)(sent % SMPP_MAX_SEQUENCE + 1));
			size_t base = out.len;
			uint64_t n = sent;
			char *digits;

			hm_buf_put(&out, one.p, one.len);
			memcpy(out.p + base + 12, &sequence, 4);
			digits = out.p + base + (at - one.p);
			for (size_t i = DIGITS; i-- > 2; n /= 10)
				digits[i] = (char)('0' + n % 10);
		}
		put(&out);
		done += answers(&refused);
	}
	printf("%llu %.6f %llu\n", (unsigned long long)done, (double)(hm_clock_mono_ns() - start) / 1e9,
	       (unsigned long long)refused);
	hm_buf_fini(&one);
	hm_buf_fini(&out);
	return refused != 0;
}
