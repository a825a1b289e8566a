"""Which reactant atom a masked product atom came from, in the reaction model rxnmapper.

Paper: Schwaller et al. 2021, "Extraction of organic chemistry grammar from unsupervised learning of chemical
reactions", Science Advances 7(15).
"""

from circuits._run import Script

SCRIPT = Script("atom-mapping", task="atom-mapping:metric=logit-diff", model="rxnmapper", n=64, draws=100)

if __name__ == "__main__":
    SCRIPT.main()
