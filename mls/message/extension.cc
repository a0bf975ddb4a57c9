#include "message/extension.h"

namespace slipway::mls {

bool has_duplicate_types(const Extensions& extensions) {
  for (size_t i = 1; i < extensions.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (extensions[i].type == extensions[j].type) {
        return true;
      }
    }
  }
  return false;
}

const Bytes* find_extension(const Extensions& extensions, ExtensionType type) {
  for (const Extension& extension : extensions) {
    if (extension.type == type) {
      return &extension.data;
    }
  }
  return nullptr;
}

}  // namespace slipway::mls
