// The MLS module (RFC 9420) in one header. A program that holds groups needs group/group.h alone; the
// rest is for those who read or build the parts themselves.
#pragma once

#include "base/error.h"
#include "base/limits.h"
#include "crypto/aead.h"
#include "crypto/hkdf.h"
#include "crypto/hpke.h"
#include "crypto/parallel.h"
#include "crypto/random.h"
#include "crypto/signature_key.h"
#include "crypto/suite.h"
#include "group/group.h"
#include "key_schedule/epoch_secrets.h"
#include "key_schedule/framing.h"
#include "key_schedule/psk.h"
#include "key_schedule/secret_tree.h"
#include "key_schedule/transcript.h"
#include "message/mls_message.h"
#include "message/tree_node.h"
