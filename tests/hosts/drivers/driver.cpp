/* Drive the C++ host: one command a line, one answer a line. tests/hosts/host_drivers.py has the
 * protocol. */
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <sstream>

#include "edgernn.hpp"

namespace {

using Words = std::vector<std::string>;

Words split(const std::string &text, char separator) {
    Words words;
    std::istringstream stream(text);
    for (std::string word; std::getline(stream, word, separator);) words.push_back(word);
    return words;
}

std::vector<std::byte> from_hex(const std::string &text) {
    std::vector<std::byte> bytes;
    for (std::size_t i = 0; i + 1 < text.size(); i += 2)
        bytes.push_back(static_cast<std::byte>(std::stoi(text.substr(i, 2), nullptr, 16)));
    return bytes;
}

std::string to_hex(const void *data, std::size_t size) {
    static const char digits[] = "0123456789abcdef";
    const auto *bytes = static_cast<const unsigned char *>(data);
    std::string text;
    for (std::size_t i = 0; i < size; i++) {
        text += digits[bytes[i] >> 4];
        text += digits[bytes[i] & 15];
    }
    return text;
}

/* Call a function with a value of the type of elements that a dtype has. */
template <class Function> auto with_type(const std::string &dtype, Function function) {
    if (dtype == "float32") return function(float());
    if (dtype == "float64") return function(double());
    if (dtype == "float16") return function(edgernn::Float16());
    if (dtype == "bool") return function(bool());
    if (dtype == "int8") return function(std::int8_t());
    if (dtype == "int16") return function(std::int16_t());
    if (dtype == "int32") return function(std::int32_t());
    if (dtype == "int64") return function(std::int64_t());
    if (dtype == "uint8") return function(std::uint8_t());
    if (dtype == "uint16") return function(std::uint16_t());
    if (dtype == "uint32") return function(std::uint32_t());
    return function(std::uint64_t());
}

/* A tensor of a command, NAME:DTYPE:SHAPE:HEX, with the memory that its input views. */
struct Tensor {
    explicit Tensor(const std::string &word) {
        const std::size_t hex = word.rfind(':');
        const std::size_t sizes = word.rfind(':', hex - 1);
        const std::size_t type = word.rfind(':', sizes - 1);
        name = word.substr(0, type);
        dtype = word.substr(type + 1, sizes - type - 1);
        for (const std::string &size : split(word.substr(sizes + 1, hex - sizes - 1), ','))
            shape.push_back(std::stoll(size));
        bytes = from_hex(word.substr(hex + 1));
    }

    edgernn::Input input() const {
        return with_type(dtype, [this](auto zero) {
            using T = decltype(zero);
            const edgernn::span<const T> data(reinterpret_cast<const T *>(bytes.data()),
                                              bytes.size() / sizeof(T));
            return edgernn::Input(name.empty() ? nullptr : name.c_str(), data, shape);
        });
    }

    std::string name, dtype;
    std::vector<std::int64_t> shape;
    std::vector<std::byte> bytes;
};

std::string write(const edgernn::Output &output) {
    std::string text(output.name()), separator;
    text += std::string(":") + to_string(output.dtype()) + ":";
    for (const std::int64_t size : output.shape()) {
        text += separator + std::to_string(size);
        separator = ",";
    }
    if (!output.is_defined()) return text + ":-";
    return text + ":" + with_type(to_string(output.dtype()), [&](auto zero) {
        const auto data = output.data<decltype(zero)>();
        return to_hex(data.data(), data.size() * sizeof zero);
    });
}

std::string write(const edgernn::Outputs &outputs) {
    std::string text, separator;
    for (const edgernn::Output output : outputs) {
        text += separator + write(output);
        separator = " ";
    }
    return text;
}

std::vector<std::byte> read_file(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    std::vector<std::byte> bytes(text.size());
    std::transform(text.begin(), text.end(), bytes.begin(),
                   [](char byte) { return static_cast<std::byte>(byte); });
    return bytes;
}

class Driver {
  public:
    std::string answer(const std::string &command, const Words &words) {
        if (command == "open") return open(words);
        if (command == "open_memory") {
            model = edgernn::Model::from_memory(read_file(words.at(0) + "/sequence.onnx"),
                                                read_file(words.at(0) + "/step.onnx"));
        } else if (command == "stream") {
            stream = model.value().stream(std::stoull(words.at(0)));
        } else if (command == "close") {
            stream.reset();
            model.reset();
        } else if (command == "facts" || command == "metadata" || command == "encode" ||
                   command == "decode" || command == "check") {
            return ask_model(command, words.empty() ? "" : words[0], words);
        } else {
            return ask_stream(command, words);
        }
        return "";
    }

  private:
    std::string open(const Words &words) {
        edgernn::Options options;
        if (words.size() > 1) options.provider = words[1];
        model = edgernn::Model(words.at(0), options);
        return "";
    }

    std::string ask_model(const std::string &command, const std::string &word, const Words &words) {
        const edgernn::Model &open = model.value();
        if (command == "facts")
            return "hop=" + std::to_string(open.hop()) + " carries=" +
                   (open.carries() ? "true" : "false") + " vocabulary=" +
                   std::to_string(open.vocabulary_size()) + " provider=" +
                   std::string(open.provider());
        if (command == "metadata") return std::string(open.metadata(word.c_str()).value_or(""));
        if (command == "encode") {
            const std::vector<std::byte> bytes = from_hex(word);
            const std::string_view text(reinterpret_cast<const char *>(bytes.data()), bytes.size());
            std::string ids, separator;
            for (const std::int64_t id : open.encode(text)) {
                ids += separator + std::to_string(id);
                separator = " ";
            }
            return ids;
        }
        if (command == "decode") {
            std::vector<std::int64_t> ids;
            for (const std::string &id : words) ids.push_back(std::stoll(id));
            const std::string text = open.decode(ids);
            return to_hex(text.data(), text.size());
        }
        char text[128];
        const edgernn::Differences found = open.check(word);
        std::snprintf(text, sizeof text, "%.9g %.9g %.9g %.9g", found.whole, found.chunks,
                      found.steps, found.without_state);
        return text;
    }

    std::string ask_stream(const std::string &command, const Words &words) {
        edgernn::Stream &open = stream.value();
        if (command == "reset") return open.reset(), "";
        if (command == "counts")
            return std::to_string(open.steps()) + " " + std::to_string(open.rest());
        if (command == "snapshot") {
            const std::vector<std::byte> bytes = open.snapshot();
            return to_hex(bytes.data(), bytes.size());
        }
        if (command == "restore") return open.restore(from_hex(words.empty() ? "" : words[0])), "";
        if (command == "state") return write(open.state(words.at(0).c_str()));
        const std::vector<Tensor> tensors(words.begin(), words.end());
        std::vector<edgernn::Input> inputs;
        for (const Tensor &tensor : tensors) inputs.push_back(tensor.input());
        if (command == "set_state") return open.set_state(inputs.at(0)), "";
        if (command == "step") return write(open.step(inputs));
        if (command == "feed") return write(open.feed(inputs));
        if (command == "finish") return write(open.finish(inputs));
        if (command == "run") return write(open.run(inputs));
        throw edgernn::Error(edgernn::ErrorKind::input, "`" + command + "` is not a command");
    }

    std::optional<edgernn::Model> model;
    std::optional<edgernn::Stream> stream;
};

const char *name_of(edgernn::ErrorKind kind) {
    switch (kind) {
    case edgernn::ErrorKind::contract: return "contract";
    case edgernn::ErrorKind::provider: return "provider";
    case edgernn::ErrorKind::input: return "input";
    case edgernn::ErrorKind::state: return "state";
    case edgernn::ErrorKind::memory: break;
    }
    return "memory";
}

} // namespace

int main() {
    Driver driver;
    for (std::string line; std::getline(std::cin, line);) {
        Words words = split(line, ' ');
        const std::string command = words.empty() ? "" : words[0];
        if (!words.empty()) words.erase(words.begin());
        try {
            const std::string text = driver.answer(command, words);
            std::cout << (text.empty() ? "ok" : "ok ") << text << std::endl;
        } catch (const edgernn::Error &error) {
            std::cout << "error " << name_of(error.kind()) << " " << error.what() << std::endl;
        } catch (const std::exception &error) {
            std::cout << "error input the command is wrong: " << error.what() << std::endl;
        }
    }
}
