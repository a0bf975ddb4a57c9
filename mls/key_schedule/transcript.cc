#include "key_schedule/transcript.h"

#include "crypto/vector_header.h"
#include "key_schedule/content_pieces.h"

namespace slipway::mls {

HashValue confirmed_transcript_hash(const Suite& suite, View interim_before, WireFormat wire_format,
                                    const ContentView& commit, View signature) {
  internal::ContentPieces pieces(wire_format, commit);
  // Unlike FramedContentTBS this has no version in front.
  return hash(suite, {interim_before, pieces.head_without_version(), commit.group_id, pieces.middle(),
                      commit.authenticated_data, pieces.tail(), commit.body,
                      length_header(signature.size()), signature});
}

LongHash confirmed_transcript_steps(const Suite& suite, View interim_before, WireFormat wire_format,
                                    const ContentView& commit, View signature) {
  const internal::ContentPieces pieces(wire_format, commit);
  LongHash hashing(suite.kdf);
  hashing.add(interim_before).add(pieces.head_without_version()).add(commit.group_id).add(pieces.middle());
  hashing.add(commit.authenticated_data).add(pieces.tail()).add(commit.body);
  hashing.add(length_header(signature.size())).add(signature);
  return hashing;
}

HashValue interim_transcript_hash(const Suite& suite, View confirmed, View confirmation_tag) {
  return hash(suite, {confirmed, length_header(confirmation_tag.size()), confirmation_tag});
}

HashValue make_confirmation_tag(const Suite& suite, View confirmation_key, View confirmed) {
  return mac(suite, confirmation_key, {confirmed});
}

Status check_confirmation_tag(const Suite& suite, View confirmation_key, View confirmed, View tag) {
  if (!equal_secret(make_confirmation_tag(suite, confirmation_key, confirmed), tag)) {
    return fail(ErrorCode::kBadConfirmationTag, "checking a confirmation tag: it does not fit the epoch");
  }
  return {};
}

}  // namespace slipway::mls
