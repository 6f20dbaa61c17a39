/*
 * cert.h - the sink's TLS context and the certificates it makes for itself
 */
#ifndef HM_SINK_CERT_H
#define HM_SINK_CERT_H

#include <openssl/ssl.h>

#include "options.h"

/* ca_r (cap bytes) gets the path of the CA file clients should trust, or "" with --cert. */
int cert_context(const struct sink_options *o, SSL_CTX **ctx_r, char *ca_r, size_t cap,
		 struct hm_err *e) HM_MUSTCHECK;
/* Removes the temporary folder, if one was made. */
void cert_cleanup(void);

#endif
