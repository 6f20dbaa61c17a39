/*
 * sign_int.h - what sign.c and verify.c share
 */
#ifndef HM_ADAPTER_SIGN_INT_H
#define HM_ADAPTER_SIGN_INT_H

#include <openssl/evp.h>

#include "adapter/sign.h"
#include "base/obj.h"

struct hm_key {
	uint32_t magic;
	uint64_t serial; /* its number in this process */
	EVP_PKEY *pkey;
};

#endif
