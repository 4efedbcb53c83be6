// Runs a compiled model as torch operators, which release Python's GIL while they run. Torch's own
// binding holds the GIL, so that two lanes could not run at the same time.

#include <torch/csrc/inductor/aoti_runner/model_container_runner_cpu.h>
#include <torch/library.h>

#include <string>
#include <unordered_map>
#include <vector>

using Runner = torch::inductor::AOTIModelContainerRunnerCpu;

static int64_t open_library(const std::string& library, int64_t lanes) {
  return reinterpret_cast<int64_t>(new Runner(library, static_cast<size_t>(lanes)));
}

static std::vector<std::string> weight_names(int64_t runner) {
  std::vector<std::string> names;
  for (const auto& [_, name] : reinterpret_cast<Runner*>(runner)->getConstantNamesToOriginalFQNs())
    names.push_back(name);
  return names;
}

// The runner keeps pointers to the weights; the caller keeps the weights alive.
static void set_weights(
    int64_t runner, const std::vector<std::string>& names, const std::vector<at::Tensor>& weights) {
  auto* self = reinterpret_cast<Runner*>(runner);
  std::unordered_map<std::string, at::Tensor> by_name;
  for (size_t i = 0; i < names.size(); ++i) by_name.emplace(names[i], weights[i]);
  std::unordered_map<std::string, at::Tensor> by_constant;
  for (const auto& [constant, name] : self->getConstantNamesToOriginalFQNs())
    by_constant.emplace(constant, by_name.at(name));
  self->update_constant_buffer(by_constant, false, true, true);
}

static at::Tensor run(int64_t runner, const std::vector<at::Tensor>& inputs) {
  return reinterpret_cast<Runner*>(runner)->run(inputs).at(0);
}

static void close_library(int64_t runner) {
  delete reinterpret_cast<Runner*>(runner);
}

#define OPERATORS(space, library) TORCH_LIBRARY(space, library)
OPERATORS(CLASSWIRE_NAMESPACE, library) {
  library.def("open", &open_library);
  library.def("weight_names", &weight_names);
  library.def("set_weights", &set_weights);
  library.def("run", &run);
  library.def("close", &close_library);
}
