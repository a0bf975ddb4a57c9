"""Makes a C++ file of the blocks of code in the guide: `setup` as it is, each other as the body of a function of its name."""
import re
import sys

text = open(sys.argv[1]).read()
blocks = re.findall(r"```cpp (\w+)\n(.*?)```", text, re.S)
assert blocks and blocks[0][0] == "setup", "the guide has no setup"
out = [blocks[0][1]]
for name, body in blocks[1:]:
    out.append(f"void {name}([[maybe_unused]] const std::string& node, [[maybe_unused]] const std::string& secret) {{\n{body}}}\n")
open(sys.argv[2], "w").write("\n".join(out))
