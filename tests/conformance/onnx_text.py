"""onnx_text.py read FOLDER [OUT] | onnx_text.py print OUT FILE.onnx... | onnx_text.py version

read: onnx.parser reads each FOLDER/*.onnxtxt, a model in ONNX's text. Where the package has onnx.printer, OUT/NAME is what it prints of it. A line for
each text that is not read, with the parser's words, and last how many were; exit 1 if one was not, or if there was none. ONNX 1.12 is not asked for what
came into the grammar later: quoted names, and quotes inside of strings. print: OUT/FOLDER_OF_THE_FILE.onnxtxt is what onnx.printer prints of each file.
version: the package's, if it has a parser.
"""
import os
import re
import sys

import onnx
import onnx.parser

try:
    import onnx.printer
except ImportError:  # before 1.13
    onnx.printer = None


def is_later_grammar(text):
    body = text[text.index(">") :] if text.startswith("<") else text
    body = re.sub(r"#[^\n]*", "", re.sub(r"<[^<>]*>", "", body))
    return '\\"' in text or '"' in body[body.index("(") :]


def read(folder, out):
    names = sorted(name for name in os.listdir(folder) if name.endswith(".onnxtxt"))
    done = later = 0
    for name in names:
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            text = file.read()
        if not onnx.printer and is_later_grammar(text):
            later += 1
            continue
        try:
            model = onnx.parser.parse_model(text)
        except Exception as error:  # versions differ in what they raise
            print(f"{name}: {str(error).strip()}")
            continue
        done += 1
        if out and onnx.printer:
            with open(os.path.join(out, name), "w", encoding="utf-8") as file:
                file.write(onnx.printer.to_text(model) + "\n")
    print(f"onnx {onnx.__version__} reads {done} of {len(names) - later} texts" + (f", {later} more are in a later grammar" if later else ""))
    return done == 0 or done < len(names) - later


def print_files(out, paths):
    for path in paths:
        model = onnx.load(path, load_external_data=False)
        with open(os.path.join(out, os.path.basename(os.path.dirname(path)) + ".onnxtxt"), "w", encoding="utf-8") as file:
            file.write(onnx.printer.to_text(model) + "\n")
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "read":
        sys.exit(read(sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None))
    if sys.argv[1] == "print":
        sys.exit(print_files(sys.argv[2], sys.argv[3:]))
    print(onnx.__version__)
