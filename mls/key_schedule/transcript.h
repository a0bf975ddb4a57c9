// Transcript hashes and the confirmation tag (RFC 9420, 8.2, 6.1). Pure functions: any thread.
#pragma once

#include "crypto/hash.h"
#include "key_schedule/framing.h"

namespace slipway::mls {

// `interim_before` is empty for the first commit of a group.
HashValue confirmed_transcript_hash(const Suite& suite, View interim_before, WireFormat wire_format,
                                    const ContentView& commit, View signature);
// For a commit of megabytes, in steps; its body stays where it is.
LongHash confirmed_transcript_steps(const Suite& suite, View interim_before, WireFormat wire_format,
                                    const ContentView& commit, View signature);
HashValue interim_transcript_hash(const Suite& suite, View confirmed, View confirmation_tag);

HashValue make_confirmation_tag(const Suite& suite, View confirmation_key, View confirmed);
// kBadConfirmationTag
Status check_confirmation_tag(const Suite& suite, View confirmation_key, View confirmed, View tag);

}  // namespace slipway::mls
