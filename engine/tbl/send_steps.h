/* HM_SEND_STEP(function, NAME, what this step waits for) - in the order they happen */
HM_SEND_STEP(credential, CREDENTIAL, "a current credential (fetched once for all shards)")
HM_SEND_STEP(prepare, PREPARE, "what must be at the provider first (asked once for all that share it)")
HM_SEND_STEP(build, BUILD, "nothing, pure work: content and recipients -> request")
HM_SEND_STEP(transmit, TRANSMIT, "the driver's answer")
HM_SEND_STEP(classify, CLASSIFY, "nothing: answer -> outcome per recipient")
HM_SEND_STEP(settle, SETTLE, "nothing: every message goes its way")
