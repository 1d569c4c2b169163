"""llama.cpp's own server on 127.0.0.1 with the tiny model, until its time is over.

Speaks chat, completions, embeddings, responses (OpenAI) and messages (Anthropic). On chat and responses a request's
`grammar` field forces the answer, one character per delta; messages only follow --grammar, which holds for every call.
The engine refuses a grammar together with tools, and random weights never call one.
"""

import argparse
import time

import xllamacpp


def parameters(arguments):
    wanted = xllamacpp.CommonParams()
    wanted.model.path = arguments.model
    wanted.hostnames, wanted.port = ["127.0.0.1"], arguments.port
    wanted.n_ctx, wanted.n_parallel = 8192, 4
    wanted.cpuparams.n_threads = 1
    wanted.embedding = True
    wanted.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    wanted.endpoint_metrics = True
    if arguments.grammar:
        wanted.sampling.grammar = xllamacpp.CommonGrammar()
        wanted.sampling.grammar.type = 1  # a grammar of the user's own
        wanted.sampling.grammar.grammar = arguments.grammar
    return wanted


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="path of a .gguf")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--grammar", default="", help='such as: root ::= "always this"')
    arguments = parser.parse_args()
    server = xllamacpp.Server(parameters(arguments))
    print("listening", server.listening_address, flush=True)
    time.sleep(arguments.seconds)


if __name__ == "__main__":
    main()
