/*
 * curl_loop.h - a libcurl multi handle on the loop
 *
 * libcurl tells which sockets to watch (uv_poll) and when to be woken (one timer); whatever ends is given to on_done, from the
 * loop. A connection's watch lives as long as its socket and stays as it is between two transfers: libcurl gives it up after each,
 * and taking it down and up again costs six system calls. Transfers share their TLS sessions. Used by http.c and the drivers of protocols that libcurl speaks.
 *
 * Threads: owner shard only. Ownership: embedded by its user, who closes it and may free it in on_closed, which comes once, perhaps
 * from inside curl_loop_close.
 */
#ifndef HM_WIRE_CURL_LOOP_H
#define HM_WIRE_CURL_LOOP_H

#include <curl/curl.h>

#include "base/err.h"
#include "loop/tick.h"

struct curl_loop {
	uint32_t magic;
	struct hm_tick *tick;
	CURLM *multi;
	CURLSH *share; /* TLS sessions of all handles; one thread, so no locks */
	struct hm_timer timer;
	size_t polls;
	struct curl_poll **watches; /* by descriptor */
	size_t n_watches;
	bool closing;
	void (*on_done)(struct curl_loop *l, CURL *h,
			CURLcode rc); /* is to take h off with curl_multi_remove_handle */
	void (*on_closed)(struct curl_loop *l);
};

/* `kept`: idle connections. false: out of memory. */
bool curl_loop_init(struct curl_loop *l, struct hm_tick *t, long kept,
		    void (*on_done)(struct curl_loop *l, CURL *h, CURLcode rc)) HM_MUSTCHECK;
/* No transfer is under way. Closes the kept connections. */
void curl_loop_close(struct curl_loop *l, void (*on_closed)(struct curl_loop *l));
struct hm_origin;
/* The origin's trust, client certificate and oldest version of TLS. false: libcurl refuses them. */
bool curl_loop_tls(CURL *h, const struct hm_origin *o) HM_MUSTCHECK;
/* Tells the loop of the sockets this transfer opens and closes. With deny_private, addresses of private networks are not connected
 * to, and `denied` says that there was one. g lives as long as the transfer. */
struct curl_guard {
	struct curl_loop *loop;
	bool deny_private, denied;
};
void curl_loop_guard(CURL *h, struct curl_guard *g);
/* What a failed transfer is called here: HM_ECONN, HM_ETLS, HM_ETIMEDOUT, HM_ECLOSED, HM_ENOMEM, HM_EPROTO. */
int curl_loop_error(CURLcode rc);

#endif
